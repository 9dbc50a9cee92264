"""What goes between a process that decodes and the one that started it, and the memory that both see."""

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
    """The first message to a process; `thumbnail_side` 0: no thumbnails."""

    preprocess: Preprocess
    thumbnail_side: int
    slots: int


class Work(msgspec.Struct, frozen=True, array_like=True):
    """Each later one: photos, and the slot for the pixels of each."""

    photos: list[bytes]
    slots: list[int]


class Decoded(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """The pixels are in the slot. `seconds`: what the decode took by the clock."""

    thumbnail: bytes
    seconds: float


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """`schemas.errors.Invalid`."""

    stage: str
    error: str
    message: str


Answer = list[Decoded | Refused]

encode = msgspec.msgpack.encode
decode_setup = msgspec.msgpack.Decoder(Setup).decode
decode_work = msgspec.msgpack.Decoder(Work).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


def shared_bytes(setup: Setup) -> int:
    """A new file, of no name and gone with the last process that has it open, large enough for all slots; its fd."""
    if sys.platform == "linux":
        fd = os.memfd_create("groknet-pixels")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, setup.slots * setup.preprocess.height * setup.preprocess.width * 3)
    return fd


def slots_of(fd: int, setup: Setup) -> NDArray[np.uint8]:
    """That file as uint8 [slots, height, width, 3]."""
    shape = (setup.slots, setup.preprocess.height, setup.preprocess.width, 3)
    return np.frombuffer(mmap.mmap(fd, 0), np.uint8).reshape(shape)
