"""Reads file:// addresses below an allowed folder.

Symbolic links are resolved first, and the result must be below the folder. Then the file is opened without following
any link, so that a link which is put there in the meantime does not help.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from urllib.parse import unquote_to_bytes, urlsplit

from schemas.errors import Transient
from workers.intake.addresses import refuse

_OUTSIDE = "url: the file is not under a folder of allowed_roots"


def read_file(url: str, roots: tuple[str, ...], max_bytes: int) -> bytes:
    """Return the bytes of the file.

    Raises:
        Invalid: the file is outside every root, does not exist, is not a regular file, cannot be read, or is larger
            than `max_bytes`.
        Transient: the disk or the network file system failed.
    """
    root, parts = _locate(url, roots)
    try:
        with ExitStack() as stack:
            folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            for part in parts[:-1]:
                folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                stack.callback(os.close, folder)
            return _read(folder, parts[-1], max_bytes)
    except FileNotFoundError:
        raise refuse("file_not_found", "url: no such file under allowed_roots") from None
    except PermissionError:
        raise refuse("file_unreadable", "url: the worker may not read this file; change its mode") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):  # it became a link after the check
            raise refuse("path_not_allowed", _OUTSIDE) from None
        if error.errno == errno.ENAMETOOLONG:
            raise refuse("file_not_found", "url: the file name is too long for this file system") from None
        raise Transient("fetch", "file_error", f"url: reading failed ({os.strerror(error.errno or 0)})") from None


def _locate(url: str, roots: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return the real root, and the parts of the path below it. Raises Invalid."""
    try:
        split = urlsplit(url)
        path = os.fsdecode(unquote_to_bytes(split.path))
    except ValueError:
        raise refuse("bad_url", "url: not a URL; give file:///absolute/path") from None
    if split.netloc not in ("", "localhost") or split.query or split.fragment or not path.startswith("/"):
        raise refuse("bad_url", "url: give file:///absolute/path, with ? and # percent-encoded")
    if "\x00" in path:
        raise refuse("bad_url", "url: the path contains a NUL character")
    real = os.path.realpath(path)
    for root in map(os.path.realpath, roots):
        if os.path.commonpath((real, root)) == root and real != root:
            return root, os.path.relpath(real, root).split(os.sep)
    raise refuse("path_not_allowed", _OUTSIDE)


def _read(folder: int, name: str, max_bytes: int) -> bytes:
    """Read a regular file. Its kind is checked before it is opened as well, because opening a device or a pipe can
    already have an effect."""
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise refuse("not_a_file", "url: not a regular file")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise refuse("not_a_file", "url: not a regular file")
        data = b"" if found.st_size > max_bytes else file.read(max_bytes + 1)
        if found.st_size > max_bytes or len(data) > max_bytes:
            raise refuse("too_large", f"url: the file is larger than max_bytes = {max_bytes}")
        return data
