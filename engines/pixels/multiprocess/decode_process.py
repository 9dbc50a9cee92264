"""The decode process: it decodes what `engines.pixels.multiprocess.processes` sends, until its parent is gone.

It has one thread, answers each message with one message, and keeps no state. It imports only the decoder.
"""

from __future__ import annotations

import gc
import time
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from engines.pixels.budget import limit_decode_memory
from engines.pixels.decode import decode, decode_photo
from engines.pixels.multiprocess import _wire as wire
from schemas.errors import Invalid


def serve(connection_fd: int, memory_fd: int) -> None:
    """Answer messages until the connection closes. An error that no photo caused ends this process."""
    connection = Connection(connection_fd)
    try:
        setup = wire.decode_setup(connection.recv_bytes())
        slots = wire.slots_of(memory_fd, setup)
        limit_decode_memory(setup.decode_memory_mb)  # to refuse what the parent refuses; the parent makes photos wait
        gc.collect()
        gc.freeze()
        connection.send_bytes(b"ready")
        while True:
            work = wire.decode_work(connection.recv_bytes())
            pairs = zip(work.photos, work.slots, strict=True)
            answer: wire.Answer = [_decoded(data, slots[slot], setup) for data, slot in pairs]
            connection.send_bytes(wire.encode(answer))
    except (EOFError, ConnectionError):
        return


def _decoded(data: bytes, slot: NDArray[np.uint8], setup: wire.Setup) -> wire.Decoded | wire.Refused:
    """Decode into a slot, uint8 [height, width, 3]."""
    began, thumbnail = time.monotonic(), b""
    try:
        if setup.thumbnail_side:
            thumbnail = decode_photo(data, setup.preprocess, setup.thumbnail_side, out=slot).thumbnail
        else:
            slot[:] = decode(data, setup.preprocess)
    except Invalid as why:
        return wire.Refused(why.stage, why.error, why.message)
    return wire.Decoded(thumbnail, time.monotonic() - began)
