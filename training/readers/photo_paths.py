"""Where a photo lies: the spellings of a path that are understood, the ones that are refused, and what is no photo."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from pathlib import Path

from engines.pixels import PHOTO_SUFFIXES
from training.readers.photo_bytes import split_shard

PHOTOS = PHOTO_SUFFIXES  # files that the decoder takes
_JUNK = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "icon\r"})


def is_junk(name: str) -> bool:
    """Whether a file or folder is what systems leave behind, not data: hidden ones, `__MACOSX`, `Thumbs.db` …"""
    return name.startswith(".") or name.lower() in _JUNK


def photo_path(folder: Path, path: str) -> str:
    """The path of a photo in its usual form: relative to `folder`, with `/`, and without `.` and `..`.

    Backslashes of Windows count as `/`, unless there is a file of that very name. An absolute path below `folder`
    becomes relative. Composed and decomposed letters (ä on Macs) are equal: the form that exists is taken.

    Raises:
        ValueError: it is empty or leads out of the folder. The message is a clause with the remedy.
    """
    if not path:
        raise ValueError("write the photo's file, relative to the folder of the table")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        raise ValueError("an address of the web; download the photo, and write its file")
    if "\\" in path and not is_there(folder, path):
        path = path.replace("\\", "/")
    root = folder.absolute().as_posix()
    if path.startswith(root + "/"):
        path = path[len(root) + 1 :]
    if path.startswith("/") or re.match(r"[A-Za-z]:/", path):
        raise ValueError("an absolute path; write it relative to the folder of the table")
    path = posixpath.normpath(path)
    if path.split("/")[0] == "..":
        raise ValueError("leads out of the folder of the table; put the photo into the folder")
    if not path.isascii() and not is_there(folder, path):
        for form in ("NFC", "NFD"):
            other = unicodedata.normalize(form, path)
            if is_there(folder, other):
                return other
    return path


def is_there(folder: Path, path: str) -> bool:
    """Whether the file of a row's photo, or the shard that contains it, exists."""
    try:
        return split_shard(folder, path)[0].is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
