"""One training at a time in the folder of a run: two would overwrite each other's checkpoints."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import ConfigError

LOCK = "train.lock"


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Hold the lock of a run's folder during the block; the folder is made if it is not there. The lock ends with the
    process, even after kill -9. Of the processes of one distributed run, the first one holds it for all.

    Raises:
        ConfigError: another training has the folder. The message names its process.
    """
    out.mkdir(parents=True, exist_ok=True)
    if os.environ.get("RANK", "0") != "0":  # torchrun numbers its processes so
        yield
        return
    with (out / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            who = f"process {holder}" if holder else "another process"
            raise ConfigError(f"--out: {who} trains in {out} already; wait for it, or give another folder") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
