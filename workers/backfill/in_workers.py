"""`tag_part`: computes a part of a back-fill in any process, which opens engine and detector at its first part."""

from __future__ import annotations

import multiprocessing
import signal
from functools import lru_cache

import msgspec

from engines.detection import open_detector
from engines.recognition import build_engine
from workers.backfill.settings import BackfillSettings
from workers.backfill.tagging import Outcome, Part, Tagging, build_tagging
from workers.intake import Intake, IntakeSettings


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """All that a process needs to compute parts. It is pickled with each part.

    Attributes:
        bundle: the folder of the bundle, absolute, which every process sees under this path.
        backend: of the engine, as for `build_engine`.
        max_batch: the most photos in one call of the engine.
        detector: the folder of the bundle's detector, absolute; empty if it has none.
        detect_backend: of the detector.
        detect_batch: the most photos in one call of the detector.
        hidden_heads: `tagger.hidden_heads`.
        keep_embedding: `tagger.keep_embedding`.
        intake: what may be fetched.
        settings: of the back-fill.
    """

    bundle: str
    backend: str
    max_batch: int
    detector: str
    detect_backend: str
    detect_batch: int
    hidden_heads: tuple[str, ...]
    keep_embedding: bool
    intake: IntakeSettings
    settings: BackfillSettings


def tag_part(part: Part, *, setup: Setup) -> list[Outcome]:
    """The outcome of each listing of a part, the same in each process and at each try. Writes nothing.

    Raises:
        BundleRefused: the bundle cannot be used.
        ConfigError: a back end cannot run here.
    """
    return _tagging(setup).tag(part)


@lru_cache(maxsize=1)
def _tagging(setup: Setup) -> Tagging:
    """Engine and detector of this process, with one thread each: the workers are what runs side by side."""
    if multiprocessing.parent_process() is not None:  # Ctrl-C reaches all processes; the main one ends the others
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    detector = None
    if setup.detector:
        detector = open_detector(setup.detector, setup.detect_backend, threads=1, max_batch=setup.detect_batch)
    return build_tagging(
        setup.settings,
        engine=build_engine(setup.bundle, setup.backend, 1, setup.max_batch),
        intake=Intake(setup.intake),
        hidden_heads=setup.hidden_heads,
        keep_embedding=setup.keep_embedding,
        detector=detector,
    )
