"""Detector manifests: written and read alike, and refused where a field cannot be true."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from schemas.detector_manifest import (
    DetectorManifest,
    decode_detector_manifest,
    encode_detector_manifest,
    load_detector_manifest,
    write_detector_manifest,
)
from schemas.documents import JSON_FOLDER
from schemas.errors import BundleRefused

EXAMPLE = (JSON_FOLDER / "detector_manifest.example.json").read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest = decode_detector_manifest(EXAMPLE)
    write_detector_manifest(tmp_path, manifest)
    assert load_detector_manifest(tmp_path) == manifest
    assert decode_detector_manifest(encode_detector_manifest(manifest)) == manifest


def test_a_back_end_keeps_its_plans_under_the_detectors_id() -> None:
    manifest = decode_detector_manifest(EXAMPLE)
    assert manifest.epoch == manifest.detector_id
    assert manifest.heads == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "recogniser"}, "no detector bundle"),
        ({"format_version": 9}, "format_version: 9, not 1"),
        ({"kinds": ["mug", "product"]}, "first kind must be `product`"),
        ({"kinds": ["product", "mug", "mug"]}, "share one name"),
        ({"detector_id": "xyz"}, r"\$\.detector_id"),
        ({"nms": {"score": 2}}, r"\$\.nms\.score"),
        ({"preprocess": {"mode": "pad", "width": 64, "height": 64}}, "must be `squash`"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_true_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(BundleRefused, match=message):
        decode_detector_manifest(json.dumps(json.loads(EXAMPLE) | fields).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"type": 3}', b"\xff"])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleRefused):
        decode_detector_manifest(data)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="a detector bundle is a folder"):
        load_detector_manifest(tmp_path)


def test_fields_keep_their_order() -> None:
    names = list(json.loads(encode_detector_manifest(decode_detector_manifest(EXAMPLE))))
    assert names == [field.name for field in msgspec.structs.fields(DetectorManifest)]
