"""Finds the files beside a graph that hold some of its weights (ONNX external data).

Every inference library would read such a file, so a checksum of `model.onnx` alone would not cover all that computes.
This reads the few protobuf fields that can name one (onnx.proto3 of ONNX 1.19), without the package `onnx`.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.errors import BundleRefused

_DEEPEST = 64  # graphs within graphs; networks have two or three
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a TensorProto
# By message: the fields that lead to a tensor, and the message that each of them holds.
_LEADS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def external_files(model: bytes) -> set[str]:
    """The names of all files that the graph reads besides its own, as they are written in it.

    Raises:
        BundleRefused: the bytes are no protobuf message, or graphs are nested too deeply.
    """
    try:
        return set(_named(memoryview(model), "model", 0))
    except (IndexError, UnicodeDecodeError):
        raise BundleRefused("model.onnx: not a graph (its protobuf is damaged); export again") from None


def _named(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise BundleRefused(f"model.onnx: graphs are nested more than {_DEEPEST} deep; export again")
    if kind == "tensor":
        yield from _of_tensor(message)
        return
    leads = _LEADS[kind]
    for field, value in _fields(message):
        if isinstance(value, memoryview) and field in leads:
            yield from _named(value, leads[field], depth + 1)


def _of_tensor(tensor: memoryview) -> Iterator[str]:
    external, location = False, ""
    for field, value in _fields(tensor):
        if field == _DATA_LOCATION:
            external = value == 1
        elif field == _EXTERNAL_DATA and isinstance(value, memoryview):
            external = True
            entry = {number: bytes(text) for number, text in _fields(value) if isinstance(text, memoryview)}
            if entry.get(1) == b"location":
                location = entry.get(2, b"").decode()
    if external:
        yield location


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number and value. Raises IndexError if it is damaged."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise IndexError(f"wire type {kind}")
        if size > end - at:
            raise IndexError("beyond the end")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError("a number of more than 64 bits")
