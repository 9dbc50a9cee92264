"""A bundle together with a detector: another epoch and version, every file accounted for, and nothing else changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from engines.detection.combine import combine, combined_manifest, read_plan
from engines.recognition import load_bundle
from schemas.detector_manifest import DetectorManifest, write_detector_manifest
from schemas.errors import BundleRefused
from schemas.manifest import Preprocess, Training, encode_manifest, load_manifest, verify_files
from tests.engines.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    write_tiny_bundle(folder)
    return folder


def detector(folder: Path, detector_id: str = "0123456789ab") -> Path:
    """A folder in the form of a detector's bundle, as far as joining it needs to know."""
    folder.mkdir()
    graph = b"graph of " + detector_id.encode()
    (folder / "model.onnx").write_bytes(graph)
    manifest = DetectorManifest(
        name="finder",
        model_version="1",
        detector_id=detector_id,
        created="2026-11-29T00:00:00Z",
        preprocess=Preprocess(width=64, height=64),
        kinds=["product"],
        training=Training(recipe="none", command="none"),
        files={"model.onnx": hashlib.sha256(graph).hexdigest()},
    )
    write_detector_manifest(folder, manifest)
    return folder


def plan(folder: Path, **changed):
    return read_plan(folder, **({"mode": "all", "padding": 0.05, "threshold": 0.4, "most_boxes": 9} | changed))


def test_a_joined_bundle_is_whole_and_of_another_epoch(bundle: Path, tmp_path: Path) -> None:
    finder = detector(tmp_path / "finder")
    joined = tmp_path / "joined"
    joined.mkdir()
    made = combine(bundle, finder, plan(finder), joined)
    assert made == load_manifest(joined)
    verify_files(joined, made)
    load_bundle(joined)  # its parity photos and checksums are as before
    plain = load_manifest(bundle)
    assert (joined / "detector" / "model.onnx").read_bytes() == (finder / "model.onnx").read_bytes()
    assert {"detector/model.onnx", "detector/manifest.json", *plain.files} == set(made.files)
    assert made.epoch != plain.epoch
    assert made.model_version == f"{plain.model_version}.{made.epoch}"
    same = msgspec.structs.replace(
        made, epoch=plain.epoch, model_version=plain.model_version, files=plain.files, detection=msgspec.UNSET
    )
    assert encode_manifest(same) == encode_manifest(plain)
    assert b"detection" not in encode_manifest(plain)


def test_a_changed_detector_is_noticed(bundle: Path, tmp_path: Path) -> None:
    finder = detector(tmp_path / "finder")
    joined = tmp_path / "joined"
    joined.mkdir()
    made = combine(bundle, finder, plan(finder), joined)
    (joined / "detector" / "model.onnx").unlink()  # a link: the original stays
    (joined / "detector" / "model.onnx").write_bytes(b"another")
    with pytest.raises(BundleRefused, match=r"files\.detector/model\.onnx"):
        verify_files(joined, made)
    assert (finder / "model.onnx").read_bytes() != b"another"


def test_the_subject_takes_one_box_whatever_the_limit_is(tmp_path: Path) -> None:
    finder = detector(tmp_path / "finder")
    assert plan(finder, mode="subject", most_boxes=3) == plan(finder, mode="subject", most_boxes=30)
    assert plan(finder, most_boxes=3) != plan(finder, most_boxes=30)


def test_a_joined_bundle_is_not_joined_again_and_a_detector_must_be_there(bundle: Path, tmp_path: Path) -> None:
    finder = detector(tmp_path / "finder")
    joined = tmp_path / "joined"
    joined.mkdir()
    combine(bundle, finder, plan(finder), joined)
    with pytest.raises(BundleRefused, match="has a detector already"):
        combined_manifest(joined, plan(finder))
    with pytest.raises(BundleRefused, match="a detector bundle is a folder"):
        plan(tmp_path / "nothing")


def test_a_long_version_stays_within_its_limit(bundle: Path, tmp_path: Path) -> None:
    finder = detector(tmp_path / "finder")
    long = tmp_path / "long"
    write_tiny_bundle(long)
    manifest = msgspec.structs.replace(load_manifest(long), model_version="v" * 64)
    (long / "manifest.json").write_bytes(encode_manifest(manifest))
    made = combined_manifest(long, plan(finder))
    assert len(made.model_version) == 64
    assert made.model_version.endswith(made.epoch)
