"""What a bundle's trunk says of each place of a photo: two maps, reduced to few dimensions and kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.files import replacing
from engines.recognition import Bundle
from schemas.errors import BundleRefused
from schemas.manifest import MODEL_FILE
from training.bundle.applying.features import BATCH, CHUNK, between, feature_name, session_of
from training.evaluation.folder import decode_row
from training.readers.label_table import Row

log = logging.getLogger(__name__)
Floats = NDArray[np.float32]
ENDS = {"last": "/head/Clip_output_0", "inner": "/blocks.10/Add_output_0"}  # of Lite0: 1/32 and 1/16 of the side
DIMENSIONS = {"last": 64, "inner": 48}


@dataclass(frozen=True)
class Looked:
    """The photos of one folder.

    Attributes:
        rows: of the photos that could be decoded.
        feature: `float32 [n, f]`, the pooled trunk.
        maps: name → unit rows `float32 [n, places, d]`, row by row of the map.
        weights: name → `float32 [n, places]`, the length of each place's vector, with a sum of 1 for a photo.
    """

    rows: list[Row]
    feature: Floats
    maps: dict[str, Floats]
    weights: dict[str, Floats]


class LocalMaps:
    """The part of a bundle's graph that gives the feature and the maps. `threads` are of ONNX Runtime."""

    def __init__(self, bundle: Bundle, folder: Path, threads: int = 1) -> None:
        """`folder` is that of the bundle. Raises BundleRefused if the trunk is no EfficientNet-Lite0."""
        graph = onnx.load(folder / MODEL_FILE)
        made = [name for node in graph.graph.node for name in node.output]
        ends = [next((name for name in made if name.endswith(end)), "") for end in ENDS.values()]
        if not all(ends):
            raise BundleRefused("model.onnx: its trunk is no efficientnet_lite0, so its inner maps are not known")
        self.manifest = bundle.manifest
        self._names = [feature_name(graph), *ends]
        self._session = session_of(between(graph, [self.manifest.input], self._names), threads)
        self._axes: dict[str, tuple[Floats, Floats]] = {}

    def run(self, photos: NDArray[np.uint8]) -> list[Floats]:
        """Feature `float32 [n, f]` and the maps `float32 [n, c, h, w]` of photos `uint8 [n, height, width, 3]`."""
        return list(self._session.run(self._names, {self.manifest.input: photos}))

    def fit(self, folders: Sequence[tuple[Path, Sequence[Row]]]) -> None:
        """Find the principal axes of the vectors of all places of these photos."""
        found: dict[str, list[Floats]] = {name: [] for name in ENDS}
        for folder, rows in folders:
            for row in rows:
                pixels = decode_row(folder, row, self.manifest.preprocess)
                if not isinstance(pixels, str):
                    for name, one in zip(ENDS, self.run(pixels[None])[1:], strict=True):
                        found[name].append(_unit(_places(one))[0])
        for name, vectors in found.items():
            every = np.concatenate(vectors)
            mean = every.mean(0)
            _, _, axes = np.linalg.svd(every - mean, full_matrices=False)
            self._axes[name] = mean, axes[: DIMENSIONS[name]].T.astype(np.float32)

    def folder(self, name: str, folder: Path, rows: Sequence[Row], cache: Path) -> Looked:
        """The photos of `rows`, whose paths are relative to `folder`. `cache` keeps one file for every `CHUNK`."""
        mark = hashlib.sha256(json.dumps([row["path"] for row in rows]).encode())
        for mean, axes in self._axes.values():
            mark.update(mean.astype(np.float16).tobytes() + axes.shape[1].to_bytes(2))
        cache.mkdir(parents=True, exist_ok=True)
        parts = []
        for start in range(0, len(rows), CHUNK):
            file = cache / f"{name}-{mark.hexdigest()[:12]}-{start:06d}.npz"
            if not file.is_file():
                found = self._chunk(folder, rows[start : start + CHUNK])
                with replacing(file) as part, part.open("wb") as opened:
                    np.savez(opened, **found)  # type: ignore[arg-type]
                log.info("%s: %d of %d photos", name, min(start + CHUNK, len(rows)), len(rows))
            with np.load(file) as kept:
                parts.append({key: kept[key] for key in kept.files})
        at = np.concatenate([part["at"] + start for part, start in zip(parts, range(0, len(rows), CHUNK), strict=True)])
        joined = {k: np.concatenate([part[k].astype(np.float32) for part in parts]) for k in parts[0] if k != "at"}
        maps, weights = ({end: joined[f"{what}-{end}"] for end in ENDS} for what in ("map", "weight"))
        return Looked([rows[i] for i in at], joined["feature"], maps, weights)

    def _chunk(self, folder: Path, rows: Sequence[Row]) -> dict[str, NDArray[np.generic]]:
        at: list[int] = []
        parts: list[dict[str, Floats]] = []
        for start in range(0, len(rows), BATCH):
            pixels = [decode_row(folder, row, self.manifest.preprocess) for row in rows[start : start + BATCH]]
            good = {start + i: one for i, one in enumerate(pixels) if not isinstance(one, str)}
            if good:
                at += good
                parts.append(self.described(np.stack(list(good.values()))))
        joined = {key: np.concatenate([part[key] for part in parts]).astype(np.float16) for key in parts[0]}
        return {"at": np.array(at, np.int64), **joined}

    def described(self, photos: NDArray[np.uint8]) -> dict[str, Floats]:
        """`feature`, and `map-NAME` and `weight-NAME` for each map, of photos `uint8 [n, height, width, 3]`."""
        feature, *maps = self.run(photos)
        found = {"feature": feature}
        for name, one in zip(ENDS, maps, strict=True):
            places = _places(one)
            length = np.linalg.norm(places, axis=2)
            mean, axes = self._axes[name]
            found[f"map-{name}"] = _unit((_unit(places) - mean) @ axes)
            found[f"weight-{name}"] = length / length.sum(1, keepdims=True)
        return found


def _places(maps: Floats) -> Floats:
    """`[n, c, h, w]` → `[n, h · w, c]`."""
    return maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)


def _unit(x: NDArray[np.floating]) -> Floats:
    scaled: Floats = x.astype(np.float32) / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6)
    return scaled
