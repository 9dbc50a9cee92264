"""Measures an engine: batches of one size, from one or several callers."""

from __future__ import annotations

import threading
import time

import msgspec
import numpy as np

from engines.recognition.interface import RecognitionEngine


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `measure`. Latency is in milliseconds, for one caller, from photos to predictions."""

    batch: int
    callers: int
    images: int
    images_per_s: float
    latency_ms_p50: float
    latency_ms_p99: float


def measure(engine: RecognitionEngine, batch: int, *, seconds: float = 3.0, callers: int = 1) -> Speed:
    """Run batches of noise for about `seconds`, after one batch that is not counted. Blocks.

    One caller shows the latency. Two callers keep a GPU copying and computing at once.

    Args:
        engine: the engine to measure.
        batch: photos in a batch.
        seconds: how long to measure; each caller runs at least one batch.
        callers: threads that call `infer`.

    Raises:
        Exception: whatever `infer` raises.
    """
    size = engine.manifest.preprocess
    photos = np.random.default_rng(0).integers(0, 256, (batch, size.height, size.width, 3), np.uint8)
    engine.infer(photos)
    times: list[float] = []
    faults: list[Exception] = []
    began = time.perf_counter()

    def call() -> None:
        try:
            going = True
            while going:  # at least once, however late the thread starts
                start = time.perf_counter()
                engine.infer(photos)
                times.append(time.perf_counter() - start)
                going = time.perf_counter() - began < seconds
        except Exception as error:  # raised below, because nobody sees a thread's error
            faults.append(error)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if faults:
        raise faults[0]
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    return Speed(
        batch=batch,
        callers=callers,
        images=len(times) * batch,
        images_per_s=round(len(times) * batch / took, 1),
        latency_ms_p50=round(float(p50), 3),
        latency_ms_p99=round(float(p99), 3),
    )
