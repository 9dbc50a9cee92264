"""An engine folder remembers the back end that it was built for, in a small file beside its manifest."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.files import replacing
from schemas.errors import BundleRefused

FILE = "engine.json"
USUAL = "onnxruntime"
"""The back end of a folder that remembers none, such as every exported bundle."""


class _Remembered(msgspec.Struct, frozen=True, kw_only=True):
    backend: str


def remember_backend(folder: Path, backend: str) -> None:
    """Write the back end's name into the folder."""
    with replacing(folder / FILE) as part:
        part.write_bytes(msgspec.json.encode(_Remembered(backend=backend)) + b"\n")


def own_backend(folder: Path) -> str:
    """Return the back end that a folder was built for, `onnxruntime` if it remembers none.

    Raises:
        BundleRefused: the file cannot be read.
    """
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=_Remembered).backend
    except (FileNotFoundError, NotADirectoryError):
        return USUAL
    except (OSError, msgspec.DecodeError) as error:
        raise BundleRefused(f"{folder / FILE}: {error}; build the engine again, or delete this file") from None
