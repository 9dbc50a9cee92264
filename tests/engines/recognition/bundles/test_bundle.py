"""A bundle is opened whole and unchanged, or refused by the name of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.recognition import build_engine, load_bundle
from schemas.manifest import MODEL_FILE, PARITY_FILE
from tests.engines.recognition.broken import edit_manifest, edit_parity, parity, refused
from tests.engines.tiny_bundle import seal


@pytest.mark.parametrize("name", [MODEL_FILE, PARITY_FILE, "card.md"])
def test_one_flipped_bit_in_any_file(tiny: Path, name: str) -> None:
    data = bytearray((tiny / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tiny / name).write_bytes(data)
    text = refused(tiny)
    assert f"files.{name}" in text
    assert "export" in text


@pytest.mark.parametrize("name", [MODEL_FILE, PARITY_FILE, "card.md", "manifest.json"])
def test_a_missing_file(tiny: Path, name: str) -> None:
    (tiny / name).unlink()
    assert name in refused(tiny)


def test_a_file_without_a_checksum(tiny: Path) -> None:
    files = json.loads((tiny / "manifest.json").read_text())["files"]
    for name in (MODEL_FILE, PARITY_FILE):
        edit_manifest(tiny, files={other: value for other, value in files.items() if other != name})
        assert name in refused(tiny)


def test_extra_files_are_ignored(tiny: Path) -> None:
    (tiny / "notes.txt").write_text("mine")
    build_engine(tiny, threads=1)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"format_version": 2}, "format_version: 2"),
        ({"format_version": None}, "format_version"),
        ({"epoch": "xyz"}, "epoch"),
        ({"surprise": 1}, "surprise"),
        ({"top_k": 0}, "top_k"),
        ({"heads": 3}, "heads"),
    ],
)
def test_a_manifest_that_was_tampered_with(tiny: Path, fields: dict[str, object], says: str) -> None:
    edit_manifest(tiny, **fields)
    assert says in refused(tiny)


def test_a_manifest_that_is_not_json(tiny: Path) -> None:
    (tiny / "manifest.json").write_bytes(b"{\xff")
    assert "manifest.json" in refused(tiny)


def test_parity_arrays_that_do_not_fit(tiny: Path) -> None:
    whole = {name: parity(tiny, name) for name in ("photos", "colour", "hash")}
    for name, array in (
        ("photos", whole["photos"].astype(np.float32)),
        ("photos", whole["photos"][:0]),
        ("photos", whole["photos"][:, :8]),
        ("photos", None),
        ("colour", whole["colour"][:, :2]),
        ("colour", whole["colour"][:3]),
        ("colour", None),
        ("hash", whole["hash"].astype(np.int32)),
    ):
        edit_parity(tiny, **{name: array})
        assert name in refused(tiny)
        edit_parity(tiny, **whole)


def test_parity_file_that_holds_objects_is_not_unpickled(tiny: Path) -> None:
    np.savez(tiny / PARITY_FILE, photos=np.array([{"a": 1}], dtype=object))
    seal(tiny)
    assert "parity.npz: cannot be read" in refused(tiny)


def test_bundle_knows_its_outputs(tiny: Path) -> None:
    assert load_bundle(tiny).outputs == {
        "colour": (3, "float32"),
        "words": (4, "float32"),
        "embedding": (16, "float32"),
        "hash": (32, "uint8"),
    }
