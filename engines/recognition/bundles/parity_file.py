"""Reads `parity.npz`, an archive of arrays, whose size, count and names are checked before anything is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import BundleRefused

MOST_ARRAYS = 1_024  # outputs and photos; the demo bundle has a dozen
MOST_BYTES = 1_000_000_000  # unpacked, all together; 16 photos of 2048 x 2048 have 200 MB
_MOST_RATIO = 500  # unpacked to packed, of an array that is not small: pictures reach 50, a bomb 1,000
_SMALL = 1_000_000  # bytes
_KINDS = "biuf"  # numpy's codes of numbers: no objects, no text
_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_DAMAGED = (OSError, ValueError, EOFError, KeyError, RuntimeError, NotImplementedError, struct.error, zlib.error)


def read_parity(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of the file by name.

    Raises:
        BundleRefused: it cannot be read, or is larger than a parity file may be.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check(path.name, members)
            return {one.filename.removesuffix(".npy"): _array(path.name, archive, one) for one in members}
    except (*_DAMAGED, zipfile.BadZipFile, MemoryError) as error:
        raise BundleRefused(f"{path.name}: cannot be read ({error}); export the bundle again") from None


def _check(name: str, members: list[zipfile.ZipInfo]) -> None:
    """Raise BundleRefused unless what the archive's directory says is within the bounds."""
    if len(members) > MOST_ARRAYS or sum(one.file_size for one in members) > MOST_BYTES:
        raise BundleRefused(f"{name}: more than {MOST_ARRAYS} arrays or {MOST_BYTES:,} bytes; export with fewer photos")
    if len({one.filename for one in members}) != len(members):
        raise BundleRefused(f"{name}: two arrays have one name; export the bundle again")
    for one in members:
        if not one.filename.endswith(".npy") or one.is_dir():
            raise BundleRefused(f"{name}: {one.filename[:80]!r} is no array; export the bundle again")
        if one.file_size > max(_SMALL, _MOST_RATIO * one.compress_size):
            raise BundleRefused(f"{name}: {one.filename[:80]!r} unpacks to {one.file_size:,} bytes; export again")


def _array(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[np.generic]:
    """One array. Its header must promise as many bytes as the directory says that there are."""
    with archive.open(member) as file:
        version: Any = np.lib.format.read_magic(file)
        if version not in _HEADER:
            raise BundleRefused(f"{name}: {member.filename[:80]!r} has array format {version}; export again")
        try:
            shape, fortran, dtype = _HEADER[version](file)
        except MemoryError:
            raise
        except Exception as error:  # numpy reads the header as Python text; tokenize, for one, has errors of its own
            text = f"{name}: the header of {member.filename[:80]!r} cannot be read ({type(error).__name__})"
            raise BundleRefused(f"{text}; export the bundle again") from None
        data_bytes = member.file_size - file.tell()
        if dtype.kind not in _KINDS:
            raise BundleRefused(f"{name}: cannot be read ({member.filename[:80]!r} holds no numbers); export again")
        if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != data_bytes:
            raise BundleRefused(f"{name}: {member.filename[:80]!r} is not the array that its header says; export again")
        data = file.read(data_bytes + 1)
    if len(data) != data_bytes:
        raise BundleRefused(f"{name}: {member.filename[:80]!r} is cut short; export the bundle again")
    array: npt.NDArray[np.generic] = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()
    return array
