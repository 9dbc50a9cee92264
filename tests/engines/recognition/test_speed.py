"""How an engine is measured: whole batches of the right size from every caller, and what `infer` raises comes out."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from engines.recognition import build_engine
from engines.recognition.speed import measure
from tests.engines.tiny_bundle import SIZE


@pytest.mark.parametrize("callers", [1, 3])
def test_every_batch_is_counted_except_the_first(tiny: Path, monkeypatch: pytest.MonkeyPatch, callers: int) -> None:
    engine = build_engine(tiny, threads=1, max_batch=4)
    seen: list[tuple[tuple[int, ...], str]] = []
    lock, infer = threading.Lock(), engine.infer

    def counted(photos: np.ndarray) -> object:
        with lock:
            seen.append((photos.shape, threading.current_thread().name))
        return infer(photos)

    monkeypatch.setattr(engine, "infer", counted)
    speed = measure(engine, 2, seconds=0.0, callers=callers)
    engine.close()
    assert {shape for shape, _ in seen} == {(2, SIZE, SIZE, 3)}
    assert speed.images == 2 * (len(seen) - 1)
    assert len({name for _, name in seen[1:]}) == callers, "each caller runs a batch, however late it starts"
    assert 0 < speed.latency_ms_p50 <= speed.latency_ms_p99


def test_what_infer_raises_in_a_thread_comes_out(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = build_engine(tiny, threads=1)
    main = threading.current_thread()

    def once(_: np.ndarray) -> None:
        if threading.current_thread() is not main:
            raise RuntimeError("the device is lost")

    monkeypatch.setattr(engine, "infer", once)
    with pytest.raises(RuntimeError, match="the device is lost"):
        measure(engine, 1, seconds=0.0, callers=2)
    engine.close()
