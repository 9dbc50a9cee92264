"""Fuzzes the bundle loader: a bundle is taken as it was sealed, or refused with BundleRefused; never anything else.

Half of the changed bundles are sealed again, so that their checksums are right and the readers behind them are reached.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from engines.recognition import load_bundle
from schemas.errors import BundleRefused
from schemas.manifest import MANIFEST_FILE, MODEL_FILE, PARITY_FILE, sha256_file
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle
from tests.fuzz.running import main

MOST_BYTES = 64_000_000  # memory for one bundle of 40 KB
FILES = (MANIFEST_FILE, MODEL_FILE, PARITY_FILE)


@dataclass(frozen=True)
class Bytes:
    """Replace a part of a file: from a place (0 to 1) so many bytes by others."""

    file: str
    at: float
    drop: int
    put: bytes

    def apply(self, folder: Path) -> None:
        path = folder / self.file
        data = path.read_bytes()
        start = int(self.at * len(data))
        path.write_bytes(data[:start] + self.put + data[start + self.drop :])


@dataclass(frozen=True)
class Field:
    """Replace one value of the manifest, the number `which` of all, by another one."""

    which: int
    value: Any

    def apply(self, folder: Path) -> None:
        path = folder / MANIFEST_FILE
        try:
            document = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            return
        places = list(_places(document))
        if places:
            holder, key = places[self.which % len(places)]
            holder[key] = self.value
            path.write_text(json.dumps(document))


def _places(node: Any) -> Any:
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _places(node[key])


@dataclass(frozen=True)
class Member:
    """Put an array into the parity file whose header says what it likes."""

    name: str
    header: str
    data: bytes
    compressed: bool
    repeat: int

    def apply(self, folder: Path) -> None:
        path = folder / PARITY_FILE
        try:
            with zipfile.ZipFile(path) as before:
                kept = {one.filename: before.read(one) for one in before.infolist()}
        except Exception:  # another change broke it already
            return
        text = self.header.encode("latin-1", "replace")
        kept[self.name] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + self.data * self.repeat
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if self.compressed else zipfile.ZIP_STORED) as after:
            for name, data in kept.items():
                after.writestr(name, data)


@dataclass(frozen=True)
class External:
    """Let the graph read one of its weights from a file."""

    which: int
    location: str
    inside: bool

    def apply(self, folder: Path) -> None:
        graph = tiny_graph()
        tensors = graph.graph.initializer
        tensor = tensors[self.which % len(tensors)]
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", self.location
        if self.inside:
            tensor.data_location = onnx.TensorProto.EXTERNAL
        (folder / MODEL_FILE).write_bytes(graph.SerializeToString())


Change = Bytes | Field | Member | External

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_names = st.sampled_from(["photos.npy", "hash.npy", "colour.npy", "../up.npy", "/abs.npy", "x.txt", "hash.weight.npy"])
_dtypes = st.sampled_from(["|u1", "<f4", "<f8", "|O", "<U9", "|V8", "<M8[s]", "?", "garbage"])
_shapes = st.lists(st.integers(-2, 2**40) | st.integers(0, 40), max_size=4)
_headers = st.text(max_size=60) | st.builds(
    lambda dtype, fortran, shape: f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {tuple(shape)}, }}\n",
    _dtypes,
    st.booleans(),
    _shapes,
)
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        Bytes, st.sampled_from(FILES), st.floats(0, 1), st.integers(0, 400) | st.just(10**9), st.binary(max_size=40)
    ),
    st.builds(Field, st.integers(0, 400), _json),
    st.builds(Member, _names, _headers, st.binary(max_size=64), st.booleans(), st.sampled_from([1, 1, 1, 300_000])),
    st.builds(External, st.integers(0, 20), st.sampled_from(["w.bin", "../w.bin", "/etc/hosts", ""]), st.booleans()),
)
BUNDLES = st.tuples(st.lists(CHANGES, min_size=1, max_size=3), st.booleans())


@cache
def _whole() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="groknet-fuzz-"))
    write_tiny_bundle(folder)
    return folder


def check(case: tuple[list[Change], bool]) -> str:
    """Change a bundle, seal it again or not, and load it. Raises AssertionError if anything but BundleRefused comes."""
    changes, sealed = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "bundle"
        shutil.copytree(_whole(), folder)
        for change in changes:
            change.apply(folder)
        if sealed:
            _seal(folder)
        return _end(lambda: load_bundle(folder))


def _seal(folder: Path) -> None:
    try:
        document = json.loads((folder / MANIFEST_FILE).read_bytes())
        document["files"] |= {name: sha256_file(folder / name) for name in (MODEL_FILE, PARITY_FILE)}
        (folder / MANIFEST_FILE).write_text(json.dumps(document))
    except (ValueError, KeyError, TypeError, RecursionError):
        return


def _end(load: Callable[[], object]) -> str:
    tracemalloc.start()
    try:
        load()
    except BundleRefused as why:
        return f"refused ({str(why).split(':')[0][:20]})"
    else:
        return "taken"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES, f"{peak} bytes for one bundle"


def bomb() -> bytes:
    """A parity file of some kilobytes that unpacks to 900 MB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("photos.npy", "w") as member:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (900_000_000,)})
        member.write(head.getvalue())
        for _ in range(900):
            member.write(bytes(1_000_000))
    return file.getvalue()


if __name__ == "__main__":
    main(BUNDLES, check)
