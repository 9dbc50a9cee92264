"""From a checkpoint of a detector to a bundle: graph, parity photos, manifest and a measured card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from engines.detection import open_detector
from engines.files import making_folder, write_file
from schemas.detector_manifest import DetectorManifest, Nms, write_detector_manifest
from schemas.manifest import (
    CARD_FILE,
    MODEL_FILE,
    PARITY_FILE,
    Preprocess,
    Training,
    encode_preprocess,
    sha256_file,
)
from training.data.photos import squash
from training.detection.bundle.card import card_text
from training.detection.bundle.graph import DenseGraph, deployable_detector, run_detector, write_detector_graph
from training.detection.figures import SetFigures
from training.detection.loop.state import CHECKPOINT, load_detector
from training.detection.networks.interface import DetectorNetwork
from training.detection.recipe import DetectorRecipe
from training.studio import DEMO_IDENTITIES, make_product, render_several

PARITY_PHOTOS = 6


def export_detector(
    recipe: DetectorRecipe,
    run: Path,
    bundle: Path,
    *,
    figures: Mapping[str, SetFigures] | None = None,
    command: str = "groknet detector train RECIPE.toml --data DATA --out RUN && groknet detector export RUN",
) -> DetectorManifest:
    """Make the folder `bundle` from the run's checkpoint.

    It appears whole or not at all, and only after an engine has opened it, which checks its files and its boxes.

    Args:
        recipe: of the run.
        run: folder of the run; it has `checkpoint.pt`.
        bundle: the folder to make or replace.
        figures: measured on test photos, by set, for the card.
        command: that makes such a bundle, for the card.

    Raises:
        ConfigError: there is no checkpoint, or it is of another recipe.
        BundleRefused: the graph does not compute what torch does.
    """
    network, saved = load_detector(run / CHECKPOINT, recipe)
    facts = Training(
        recipe=recipe.name,
        command=command,
        photos=saved.get("photos", {}),
        seconds=round(saved["seconds"], 1),
        hardware=saved.get("hardware", "unknown"),
        notes={"steps": float(saved["step"]), "processes": float(saved.get("processes", 1))},
    )
    return write_detector_bundle(network, recipe, saved["kinds"], bundle, facts, figures=figures)


def write_detector_bundle(
    network: DetectorNetwork,
    recipe: DetectorRecipe,
    kinds: Sequence[str],
    bundle: Path,
    facts: Training,
    *,
    photos: NDArray[np.uint8] | None = None,
    figures: Mapping[str, SetFigures] | None = None,
) -> DetectorManifest:
    """Make the folder `bundle` from a network.

    `photos` uint8 [p, side, side, 3] are its parity photos, by default rendered ones. Other arguments and errors are
    those of `export_detector`.
    """
    graph = deployable_detector(network)
    nms = Nms(score=recipe.nms.score, overlap=recipe.nms.overlap, most=min(recipe.nms.most, _proposals(graph, recipe)))
    shown = parity_photos(recipe.side) if photos is None else photos
    with making_folder(bundle, replace=True) as part:
        write_detector_graph(graph, part / MODEL_FILE, recipe.side, nms)
        np.savez_compressed(part / PARITY_FILE, photos=shown, **run_detector(graph, shown, nms))  # type: ignore[arg-type]
        preprocess = squash(recipe.side)
        number = detector_id(part / MODEL_FILE, preprocess)
        manifest = DetectorManifest(
            name=recipe.name,
            model_version=f"{recipe.name[:40]}-{number[:8]}",
            detector_id=number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            preprocess=preprocess,
            kinds=list(kinds),
            nms=nms,
            training=facts,
            files={},
        )
        write_file(part / CARD_FILE, card_text(manifest, recipe, figures or {}))
        files = {name: sha256_file(part / name) for name in (CARD_FILE, MODEL_FILE, PARITY_FILE)}
        manifest = msgspec.structs.replace(manifest, files=files)
        write_detector_manifest(part, manifest)
        open_detector(part).close()
    return manifest


def _proposals(graph: DenseGraph, recipe: DetectorRecipe) -> int:
    """How many boxes the network proposes for a photo: it cannot give more. A small input has few cells."""
    with torch.inference_mode():
        return int(graph(torch.zeros(1, recipe.side, recipe.side, 3, dtype=torch.uint8))[1].shape[1])


def detector_id(model: Path, preprocess: Preprocess) -> str:
    """The first 12 hex digits of the sha256 of the graph, which has weights and thresholds, and the preprocessing."""
    digest = hashlib.sha256(encode_preprocess(preprocess))
    digest.update(model.read_bytes())
    return digest.hexdigest()[:12]


def parity_photos(side: int) -> NDArray[np.uint8]:
    """Rendered photos of one to six products that training never drew: uint8 [p, side, side, 3]."""
    shown = []
    for number in range(PARITY_PHOTOS):
        products = [make_product(DEMO_IDENTITIES.start + 10 * number + n) for n in range(number + 1)]
        shown.append(render_several(products, number, (side, side)).pixels)
    return np.stack(shown)
