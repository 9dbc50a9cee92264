"""One door in a process of its own: `python -m tests.hostile.child MODULE SEED COUNT`. One line of JSON for each step.

Beside each hostile input, another thread offers an honest one, which must get its right answer whatever the hostile one
does.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from itertools import islice
from pathlib import Path
from random import Random
from types import ModuleType

from tests.hostile.case import Input

WARM_UP = 3  # inputs after which caches, pools and lazy imports are there, and counting begins


def offered(door: ModuleType, one: Input) -> tuple[str, str]:
    """The verdict, `taken`, `refused` or `crash`, and the reason."""
    try:
        one.offer()
    except door.REFUSALS as error:
        return "refused", str(error)[:200]
    except BaseException as error:  # the judge wants to hear of anything
        return "crash", f"{type(error).__name__}: {error}"[:400]
    return "taken", ""


def held() -> tuple[int, int]:
    """How many files are open, and how many threads run."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def more_than(begun: tuple[int, int]) -> tuple[int, int] | None:
    """What is held, if it stays more than at the beginning: a thread that just ended may close its files a moment
    later."""
    for _ in range(600):
        now = held()
        if all(after <= before for after, before in zip(now, begun, strict=True)):
            return None
        time.sleep(0.05)
    return now


def say(**fact: object) -> None:
    print(json.dumps(fact), flush=True)


def peak_kb() -> int:
    """The largest resident memory of this process so far, in KiB. On Linux `ru_maxrss` would begin with the memory of
    the process that started this one."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(name: str, seed: int, count: int) -> None:
    """Offer `count` inputs of one door."""
    door = import_module(name)
    rng = Random(f"{name.rpartition('.')[2]} {seed}")
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as beside, ExitStack() as ending:
        ending.callback(getattr(door, "close", lambda: None))
        folder, own = Path(scratch) / "hostile", Path(scratch) / "honest"
        folder.mkdir()
        own.mkdir()
        beside.submit(door.honest, own).result()
        begun, kilobytes = held(), 0
        for number, one in enumerate(islice(door.inputs(rng, folder), count)):
            say(begin=one.name)
            honest = beside.submit(door.honest, own)
            verdict, why = offered(door, one)
            wrong = honest.exception()
            most = peak_kb()
            if number < WARM_UP:
                begun, kilobytes = held(), most
            found = [f"an honest input failed: {type(wrong).__name__}: {wrong}"[:400]] if wrong else []
            if now := more_than(begun):
                found.append(f"leak: {now} files and threads, {begun} before")
            grown = (most - kilobytes) >> 10
            found += [f"memory: grown by {grown} MB, at most {door.MOST_MB}"] if grown > door.MOST_MB else []
            say(end=one.name, verdict=verdict, why=why, found=found, grown_mb=grown)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
