"""Compares the back ends that are installed: which pass the parity gate here, and which of them is the fastest."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np

from engines.gpu.open import open_driver
from engines.recognition.bundles.bundle import load_bundle
from engines.recognition.engine import build_engine
from engines.recognition.interface import RecognitionEngine
from engines.recognition.own_backend import USUAL
from engines.recognition.parts import usable_cores
from engines.recognition.precision.convert import Precision
from schemas.errors import BundleRefused, ConfigError, GroknetError

CLEARLY = 1.1
"""Another back end than `onnxruntime` must be so much faster, so that noise decides nothing."""
_BATCH = 8
_ROUNDS = 3
_ROUND_S = 0.4
_FEWEST_BATCHES = 3  # of a round, on a busy machine
_TICK_S = 1e-4  # of the clock of processor time
_GPU_BACKENDS = ("tensorrt", "tensorrt_rtx", "torch")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A back end and the precision of the graph that it runs."""

    backend: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate did: its speed, or why it cannot be used here. `folder` has its bundle."""

    candidate: Candidate
    folder: str = ""
    images_per_s: float | None = None
    refused: str = ""


def candidates(precision: Precision, *, calibrated: bool) -> list[Candidate]:
    """Return what may run a bundle of that precision here, the usual back end first.

    Args:
        precision: the bundle's.
        calibrated: whether there are photos to calibrate INT8 on.
    """
    found = [Candidate(backend=name, precision=precision) for name in (USUAL, "openvino")]
    if precision == "fp32" and calibrated:
        found.append(Candidate(backend="openvino", precision="int8"))
    if _has_gpu():
        found += [Candidate(backend=name, precision=precision) for name in _GPU_BACKENDS]
    return found


def _has_gpu() -> bool:
    try:
        open_driver().close()
    except ConfigError:
        return False
    return True


def hold(
    bundle_dir: Path,
    entrants: Sequence[Candidate],
    *,
    threads: int | None,
    folder_of: Callable[[Candidate], Path],
    tell: Callable[[float, str], None],
) -> list[Entry]:
    """Open every candidate, which runs its parity check, then measure all in turn. Takes seconds, and memory for all.

    Args:
        bundle_dir: the bundle.
        entrants: see `candidates`.
        threads: of one engine; None takes all cores.
        folder_of: makes the bundle of a candidate of another precision, and returns its folder. It may raise
            GroknetError, which refuses this candidate alone.
        tell: called with the share that is done, 0..1, and what is done now.

    Returns:
        One entry for each candidate, in order.
    """
    precision = load_bundle(bundle_dir).manifest.precision
    entries: list[Entry] = []
    engines: dict[int, RecognitionEngine] = {}
    with ExitStack() as stack:
        for i, one in enumerate(entrants):
            tell(0.7 * i / len(entrants), f"{one}: opening")
            try:
                folder = bundle_dir if one.precision == precision else folder_of(one)
                engines[i] = build_engine(folder, one.backend, threads)
            except BundleRefused as why:  # its remedies are for who builds an engine by hand
                entries.append(Entry(candidate=one, refused=str(why).partition(";")[0]))
                continue
            except (GroknetError, ModuleNotFoundError) as why:
                entries.append(Entry(candidate=one, refused=str(why)))
                continue
            stack.callback(engines[i].close)
            entries.append(Entry(candidate=one, folder=str(folder)))
        speeds = _speeds(engines, entrants, threads or usable_cores(), tell)
    tell(1.0, "done")
    return [msgspec.structs.replace(entry, images_per_s=speeds.get(i)) for i, entry in enumerate(entries)]


def _speeds(
    engines: dict[int, RecognitionEngine], entrants: Sequence[Candidate], cores: int, tell: Callable[[float, str], None]
) -> dict[int, float]:
    """The median of each engine's photos a second. The rounds go from engine to engine, so all meet the same load.

    A CPU engine is measured by its processor time, as if it had its cores for itself: on a busy machine the time of day
    says more about the other programs.
    """
    rounds: dict[int, list[float]] = {i: [] for i in engines}
    for count in range(_ROUNDS + 1):
        for i, engine in engines.items():
            tell(0.7 + 0.3 * count / (_ROUNDS + 1), f"{entrants[i]}: measuring")
            on_gpu = entrants[i].backend in _GPU_BACKENDS
            rounds[i].append(_photos_per_s(engine, time.perf_counter) if on_gpu else _photos_per_s(engine) * cores)
    return {i: statistics.median(found[1:]) for i, found in rounds.items()}  # the first round warms up


def _photos_per_s(engine: RecognitionEngine, clock: Callable[[], float] = time.process_time) -> float:
    size = engine.manifest.preprocess
    photos = np.random.default_rng(0).integers(0, 256, (_BATCH, size.height, size.width, 3), np.uint8)
    count, until, started = 0, time.monotonic() + _ROUND_S, clock()
    while count < _FEWEST_BATCHES or time.monotonic() < until:
        engine.infer(photos)
        count += 1
    return count * _BATCH / max(clock() - started, _TICK_S)


def winner(entries: Sequence[Entry]) -> tuple[Entry, str]:
    """Return the entry to use and the reason, one line. The first one stays unless another is clearly faster.

    Raises:
        ConfigError: no candidate can be used.
    """
    usable = [(entry.images_per_s, entry) for entry in entries if entry.images_per_s is not None]
    refused = [f"{entry.candidate}: {entry.refused}" for entry in entries if entry.images_per_s is None]
    if not usable:
        raise ConfigError(f"engine.backend: no back end can run this bundle here ({'; '.join(refused)})")
    base_speed, base = usable[0]
    speed, best = max(usable, key=lambda one: one[0])
    others = [f"{other.candidate} {found:.0f}" for found, other in usable if other is not best]
    if speed < CLEARLY * base_speed and best is not base:
        speed, best = base_speed, base
        others = [f"{other.candidate} {found:.0f}, which is not clearly faster" for found, other in usable[1:]]
    text = f"{best.candidate} takes {speed:.0f} photos/s here"
    if best is not base:
        text += f", {speed / base_speed:.1f} times {base.candidate}"
    detail = [*([f"others: {', '.join(others)}"] if others else []), *refused]
    return best, f"{text} ({'; '.join(detail)})" if detail else text


def installed(backend: str) -> bool:
    """Return whether the package of a back end for CPUs is there. Imports nothing."""
    return find_spec(backend) is not None
