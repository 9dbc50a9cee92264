"""What computes the listings of a back-fill: this process, or the workers of the bulk engine (`training/bulk`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engines.recognition.own_backend import own_backend
from groknet.home.config import Loaded
from groknet.home.detecting import open_detector
from groknet.run.fastest import bundle_and_backend, open_engine
from schemas.errors import ConfigError
from schemas.manifest import DETECTOR_FOLDER, Manifest, load_manifest
from workers.backfill import BackfillSettings, Setup, Tag, build_tagging, tag_part
from workers.hidden_heads import TAGGER, without_heads
from workers.intake import Intake

if TYPE_CHECKING:
    from training.bulk import Engine

_GPU = ("tensorrt", "tensorrt_rtx")
_AHEAD = 8  # parts of a few listings for each worker: a round of Ray is long against its start, and memory stays small


class Spread(NamedTuple):
    """How a back-fill is spread over workers: their number, and what runs them."""

    workers: int
    engine: Engine


class Computing(NamedTuple):
    """What computes listings, and the manifest of its bundle without the heads that are hidden."""

    manifest: Manifest
    tag: Tag


@contextmanager
def computing(loaded: Loaded, folder: Path, settings: BackfillSettings, spread: Spread | None) -> Iterator[Computing]:
    """What computes listings with the bundle in `folder`: this process with all cores, or the workers of `spread`.

    Raises:
        BundleRefused: the bundle cannot be used. Workers say so when they compute.
        ConfigError: `tagger.hidden_heads` names a head that the bundle does not have, or the engine cannot run there.
    """
    if spread is not None:
        yield _on_workers(loaded, folder, settings, spread)
        return
    with ExitStack() as stack:
        engine = open_engine(loaded, folder)
        stack.callback(engine.close)
        detector = open_detector(loaded, folder)
        if detector is not None:
            stack.callback(detector.close)
        tagging = build_tagging(
            settings,
            engine=engine,
            intake=Intake(loaded.config.intake),
            hidden_heads=loaded.config.tagger.hidden_heads,
            keep_embedding=loaded.config.tagger.keep_embedding,
            detector=detector,
        )
        yield Computing(tagging.manifest, tagging.tag_all)


def _on_workers(loaded: Loaded, folder: Path, settings: BackfillSettings, spread: Spread) -> Computing:
    from training.bulk import bulk_map

    config = loaded.config
    bundle, backend = bundle_and_backend(loaded, folder)
    backend = backend or own_backend(bundle)
    if backend in _GPU:
        text = f"engine.backend: {backend} needs the GPU, which a back-fill uses from one process"
        raise ConfigError(f"{text}; leave out --workers and --engine")
    setup = Setup(
        bundle=str(bundle.absolute()),
        backend=backend,
        max_batch=config.engine.max_batch,
        detector=str(folder.absolute() / DETECTOR_FOLDER) if load_manifest(folder).detection else "",
        detect_backend=config.detect.backend,
        detect_batch=config.detect.batch,
        hidden_heads=config.tagger.hidden_heads,
        keep_embedding=config.tagger.keep_embedding,
        intake=config.intake,
        settings=settings,
    )
    work = partial(tag_part, setup=setup)
    tag = partial(bulk_map, work, workers=spread.workers, engine=spread.engine, ahead=_AHEAD)
    return Computing(without_heads(load_manifest(bundle), setup.hidden_heads, TAGGER), tag)
