"""Files and folders that appear whole or not at all: write a `.part` beside the target, then rename it.

A reader sees the old file or the new one, never half of one. With `sync` this also holds after a power cut: the data
reach the disk before the rename, and the rename before the function returns. Without it only a crash of the process is
covered, which is enough where the file can be made again.

It lives in `engines` because that is the lowest room with running code that every room but `deploy` may import;
`schemas` holds contracts alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path, *, sync: bool = False, shared: bool = False) -> Iterator[Path]:
    """Give a `.part` path beside `path` to write to; at the end of the block it replaces `path`.

        with replacing(table) as part, part.open("w") as file:
            file.write(text)

    An exception in the block removes the part and leaves `path` as it was. A killed process leaves the part behind.
    The next writer overwrites it, except that nobody removes the parts of killed `shared` writers.

    Args:
        path: the file to replace or to create. Its folder must exist.
        sync: flush file and folder to the disk.
        shared: several processes or threads may write this file at once. Each then has a part of its own, and the last
            one to finish wins.

    Raises:
        OSError: the part cannot be written or renamed.
    """
    part = path.with_name(f"{path.name}.{uuid4().hex}.part" if shared else f"{path.name}.part")
    try:
        yield part
        if sync:
            _flush(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if sync:
        _flush(path.parent)


def write_file(path: Path, data: bytes | str, *, sync: bool = False, shared: bool = False) -> None:
    """Replace `path` by `data`, text as UTF-8; arguments and errors as those of `replacing`."""
    with replacing(path, sync=sync, shared=shared) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def making_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give an empty `.part` folder beside `folder`; at the end of the block it becomes `folder`.

    An exception in the block removes the part. What a killed process left behind is removed first.

    Args:
        folder: the folder to make. The folders above it are made where they are missing.
        replace: remove a `folder` that is there already, at the end of the block. A folder cannot be replaced in one
            step, so for a moment there is none.

    Raises:
        OSError: the part cannot be made or renamed, for instance because `folder` is there and not empty.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if replace:
            shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until a file's data, or a folder's entries, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
