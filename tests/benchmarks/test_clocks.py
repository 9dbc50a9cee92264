"""Processor time goes to the thread and the process that spent it."""

from __future__ import annotations

import threading
import time

from benchmarks.clocks import decode_process_seconds, thread_seconds
from engines.pixels import DecodeProcesses
from schemas.manifest import Preprocess


def spend(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_each_thread_has_its_own_seconds() -> None:
    before, may_end, has_spent = thread_seconds(), threading.Event(), threading.Barrier(3)

    def work(seconds: float) -> None:
        spend(seconds)
        has_spent.wait()
        may_end.wait()

    threads = [threading.Thread(target=work, args=(0.03,), name=f"busy-{i}") for i in range(2)]
    for thread in threads:
        thread.start()
    has_spent.wait()
    found = thread_seconds()
    may_end.set()
    for thread in threads:
        thread.join()
    assert "busy" not in before
    assert found["busy"] >= 0.06


def test_processes_that_decode_are_counted_while_they_run() -> None:
    before = decode_process_seconds()
    processes = DecodeProcesses(1, Preprocess(width=32, height=32), thumbnail_side=32, slots=1)
    list(processes.decode([b"no photo"]))
    assert decode_process_seconds() > before
    processes.close()
    assert decode_process_seconds() == before
