"""Arrays in one file: a zip of plain `.npy` (an `.npz` without pickle). zip checks CRCs. The file appears whole."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from engines.files import replacing
from schemas.errors import GroknetError

Array = npt.NDArray[Any]
DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.DecodeError)


class SnapshotRefused(GroknetError):
    """A snapshot that cannot be used. The index can always be rebuilt from its topic."""


def write_arrays(path: Path, arrays: Mapping[str, Sequence[Array]]) -> None:
    """Write a file that appears whole: after a crash or a power cut there is the old file or the new one.

    Args:
        path: the file. An existing file is replaced.
        arrays: by name the pieces [n, ...] of an array of any dtype. They are joined along their first axis. Nothing is
            copied for that.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path, sync=True) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
                shape = (sum(len(piece) for piece in pieces), *pieces[0].shape[1:])
                header = {"descr": npy.dtype_to_descr(pieces[0].dtype), "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(out, header)
                for piece in pieces:
                    out.write(np.ascontiguousarray(piece).data.cast("B") if piece.size else b"")


def read_arrays(path: Path) -> dict[str, Array]:
    """Read every array of a file, by name, with its shape and dtype. Raises FileNotFoundError, or an error of
    `DAMAGE`."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def packed(value: msgspec.Struct) -> list[Array]:
    """Return the JSON of a struct as bytes, uint8 [n], in one piece for `write_arrays`."""
    return [np.frombuffer(msgspec.json.encode(value), np.uint8)]
