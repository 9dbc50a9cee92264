"""Measures a detector: batches of one size, from one caller."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import numpy.typing as npt

from engines.detection.interface import Detector


class DetectorSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `measure_detector`. Latency is in milliseconds for one batch, from pixels to boxes.

    `photos_per_processor_s` divides by the processor time of this process instead of the clock. On a CPU that other
    work shares, it times the number of cores is what the machine would do alone.
    """

    batch: int
    photos: int
    photos_per_s: float
    photos_per_processor_s: float
    latency_ms_p50: float
    latency_ms_p99: float


def measure_detector(
    detector: Detector, batch: int, *, seconds: float = 3.0, photos: npt.NDArray[np.uint8] | None = None
) -> DetectorSpeed:
    """Run batches for about `seconds`, after one that is not counted. Blocks.

    `photos` uint8 [n, h, w, 3] are repeated to fill a batch; by default they are noise, which shows few products.
    """
    size = detector.preprocess
    if photos is None:
        photos = np.random.default_rng(0).integers(0, 256, (batch, size.height, size.width, 3), np.uint8)
    shown = photos[np.arange(batch) % len(photos)]
    detector.detect(shown)
    times: list[float] = []
    began, spent = time.perf_counter(), time.process_time()
    while not times or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        detector.detect(shown)
        times.append(time.perf_counter() - start)
    took, spent = time.perf_counter() - began, time.process_time() - spent
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    return DetectorSpeed(
        batch=batch,
        photos=len(times) * batch,
        photos_per_s=round(len(times) * batch / took, 1),
        photos_per_processor_s=round(len(times) * batch / max(spent, 1e-9), 1),
        latency_ms_p50=round(float(p50), 3),
        latency_ms_p99=round(float(p99), 3),
    )
