from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from schemas.errors import Reject
from workers.search.kept.writer import Writer


def test_what_does_not_fit_is_refused_and_room_comes_back() -> None:
    writer, gate, begun = Writer(100), threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        begun.set()
        gate.wait(60)
        done.append(1)

    running = writer.offer(first, 60)
    assert begun.wait(60)
    waiting = writer.offer(lambda: done.append(2), 40)
    with pytest.raises(Reject, match="100 bytes wait"):
        writer.offer(lambda: done.append(3), 1)
    assert waiting.cancel()
    again = writer.offer(lambda: done.append(4), 40)
    gate.set()
    running.result(60)
    again.result(60)
    writer.offer(lambda: done.append(5), 100).result(60)
    writer.close()
    assert done == [1, 4, 5]


def test_closing_ends_what_is_under_way_and_drops_the_rest() -> None:
    writer, gate, begun = Writer(100), threading.Event(), threading.Event()

    def first() -> str:
        begun.set()
        gate.wait(60)
        return "written"

    running, waiting = writer.offer(first, 1), writer.offer(lambda: "never", 1)
    assert begun.wait(60)
    closing = threading.Thread(target=writer.close)
    closing.start()
    with pytest.raises(CancelledError):
        waiting.result(60)
    gate.set()
    assert running.result(60) == "written"
    closing.join(60)
    with pytest.raises(Reject, match="stopping"):
        writer.offer(lambda: None, 1)
    writer.close()
