"""A door with planted faults, one by one: the judge must find each. GROKNET_PLANTED says which fault it is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random

from tests.hostile.case import Input

REFUSALS = (ValueError,)
MOST_MB = 64
FAULTS = ("none", "crash", "hang", "exit", "files", "threads", "memory", "honest", "promise")
AT = 6  # the input with the fault
_kept: list[object] = []
_broken = threading.Event()


def honest(folder: Path) -> None:
    """Fails once a hostile input has broken what honest ones need."""
    assert not _broken.is_set(), "the honest input got a wrong answer"


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Inputs that are refused; the one at `AT` has the fault."""
    fault = os.environ["GROKNET_PLANTED"]
    for number in count():
        yield Input(f"input {number}", lambda at=number: _offer(fault if at == AT else ""))


def _offer(fault: str) -> None:
    if fault == "crash":
        raise KeyError("split")
    if fault == "hang":
        time.sleep(3600)
    if fault == "exit":
        os._exit(7)
    if fault == "files":
        _kept.append(os.open(os.devnull, os.O_RDONLY))
    if fault == "threads":
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    if fault == "memory":
        _kept.append(b"x" * (256 << 20))
    if fault == "honest":
        _broken.set()
    if fault == "promise":
        raise AssertionError("a path leads out of the folder")
    raise ValueError("refused")
