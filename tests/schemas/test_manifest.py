"""A manifest comes back as it was written, and what does not fit is refused by the name of its field."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from schemas.documents import JSON_FOLDER
from schemas.errors import BundleRefused
from schemas.manifest import (
    MANIFEST_FILE,
    decode_manifest,
    encode_manifest,
    encode_preprocess,
    find_head,
    load_manifest,
    sha256_file,
    verify_files,
    write_manifest,
)

EXAMPLE = (JSON_FOLDER / "bundle_manifest.example.json").read_bytes()


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = decode_manifest(EXAMPLE)
    assert load_manifest(write_manifest(tmp_path, manifest).parent) == manifest
    assert json.loads(encode_manifest(manifest)).keys() >= json.loads(EXAMPLE).keys()


def test_the_preprocessing_has_one_encoding_whatever_the_order_of_its_fields() -> None:
    plain = json.loads(encode_preprocess(decode_manifest(EXAMPLE).preprocess))
    assert list(plain) == sorted(plain)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"format_version": 99}, "format_version: 99, not"),
        ({"format_version": None}, "format_version: null, not"),
        ({"top_k": 0}, r"top_k"),
        ({"not_a_field": 1}, "not_a_field"),
        ({"heads": []}, None),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(change: dict[str, object], refusal: str | None) -> None:
    data = msgspec.json.encode({**json.loads(EXAMPLE), **change})
    if refusal is None:
        assert decode_manifest(data).heads == []
        return
    with pytest.raises(BundleRefused, match=refusal):
        decode_manifest(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{}"])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleRefused):
        decode_manifest(data)


@pytest.mark.parametrize("field", ["id", "output"])
def test_two_heads_share_neither_id_nor_output(field: str) -> None:
    plain = json.loads(EXAMPLE)
    twin = {**plain["heads"][0], "id": "twin", "output": "twin", field: plain["heads"][0][field]}
    with pytest.raises(BundleRefused, match=f"two heads share one {field}"):
        decode_manifest(json.dumps({**plain, "heads": [*plain["heads"], twin]}).encode())


def test_a_head_that_is_not_there_is_named_with_those_that_are() -> None:
    heads = decode_manifest(EXAMPLE).heads
    assert find_head(heads, heads[-1].id) is heads[-1]
    with pytest.raises(KeyError, match=rf"tartan: no such head; there are .*{heads[0].id}"):
        find_head(heads, "tartan")


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match=f"{MANIFEST_FILE}: not there"):
        load_manifest(tmp_path)


def test_files_are_those_that_the_manifest_counted(tmp_path: Path) -> None:
    content = b"a card"
    (tmp_path / "card.md").write_bytes(content)
    assert sha256_file(tmp_path / "card.md") == hashlib.sha256(content).hexdigest()
    manifest = msgspec.structs.replace(decode_manifest(EXAMPLE), files={"card.md": hashlib.sha256(content).hexdigest()})
    verify_files(tmp_path, manifest)
    (tmp_path / "card.md").write_bytes(content + b"!")
    with pytest.raises(BundleRefused, match=r"files\.card\.md: its sha256 differs"):
        verify_files(tmp_path, manifest)
    (tmp_path / "card.md").unlink()
    with pytest.raises(BundleRefused, match=r"files\.card\.md: not in the bundle"):
        verify_files(tmp_path, manifest)
