"""Arrays as one file: a zip of plain `.npy` (`.npz` without pickle), CRC-checked by zip itself, whole or not there."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from schemas.errors import GroknetError

Array = npt.NDArray[Any]
DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.DecodeError)


class SnapshotRefused(GroknetError):
    """A snapshot that cannot be used; the index can always be rebuilt from its topic."""


def write_arrays(path: Path, arrays: Mapping[str, Sequence[Array]]) -> None:
    """Write beside `path`, flush to the disk, then rename over it: a crash leaves the old file or the new one.

    Each array comes in pieces that are joined along their first axis, so that nothing is copied to be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, pieces in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
                    shape = (sum(len(piece) for piece in pieces), *pieces[0].shape[1:])
                    header = {"descr": npy.dtype_to_descr(pieces[0].dtype), "fortran_order": False, "shape": shape}
                    npy.write_array_header_1_0(out, header)
                    for piece in pieces:
                        out.write(np.ascontiguousarray(piece).data.cast("B") if piece.size else b"")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)


def read_arrays(path: Path) -> dict[str, Array]:
    """Every array of a file; raises FileNotFoundError, or one of DAMAGE."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def packed(value: msgspec.Struct) -> list[Array]:
    """A struct as an array of the bytes of its JSON."""
    return [np.frombuffer(msgspec.json.encode(value), np.uint8)]
