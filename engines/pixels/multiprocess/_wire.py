"""The messages between a decode process and its parent, and the memory that both share."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.manifest import Preprocess


class Setup(msgspec.Struct, frozen=True, array_like=True):
    """The first message to a process. A `thumbnail_side` of 0 means no thumbnails."""

    preprocess: Preprocess
    thumbnail_side: int
    slots: int
    decode_memory_mb: int


class Work(msgspec.Struct, frozen=True, array_like=True):
    """Every later message: photos, and the slot for each photo's pixels."""

    photos: list[bytes]
    slots: list[int]


class Decoded(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """An answer: the pixels are in the slot. `seconds` is the decode's wall time."""

    thumbnail: bytes
    seconds: float


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """An answer: the photo is refused, as `schemas.errors.Invalid`."""

    stage: str
    error: str
    message: str


Answer = list[Decoded | Refused]

encode = msgspec.msgpack.encode
decode_setup = msgspec.msgpack.Decoder(Setup).decode
decode_work = msgspec.msgpack.Decoder(Work).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


def shared_bytes(setup: Setup) -> int:
    """Return the descriptor of a new nameless file that holds all slots, and vanishes with its last process."""
    if sys.platform == "linux":
        fd = os.memfd_create("groknet-pixels")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, setup.slots * setup.preprocess.height * setup.preprocess.width * 3)
    return fd


def slots_of(fd: int, setup: Setup) -> NDArray[np.uint8]:
    """Return that file's memory as uint8 [slots, height, width, 3]."""
    shape = (setup.slots, setup.preprocess.height, setup.preprocess.width, 3)
    return np.frombuffer(mmap.mmap(fd, 0), np.uint8).reshape(shape)
