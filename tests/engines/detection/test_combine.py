"""A bundle together with a detector: another epoch and version, every file accounted for, and nothing else changed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest

from engines.detection.combine import combine, combined_manifest, content_digest, read_plan
from engines.recognition import load_bundle
from schemas.detector_manifest import DetectorManifest, load_detector_manifest, write_detector_manifest
from schemas.errors import BundleRefused
from schemas.manifest import Preprocess, Training, encode_manifest, load_manifest, verify_files
from tests.engines.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    write_tiny_bundle(folder)
    return folder


def detector(folder: Path, detector_id: str = "0123456789ab", graph: bytes = b"a graph", card: str = "a card") -> Path:
    """A folder in the form of a detector's bundle, as far as joining it needs to know."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(graph)
    (folder / "card.md").write_text(card)
    manifest = DetectorManifest(
        name="finder",
        model_version="1",
        detector_id=detector_id,
        created="2026-11-29T00:00:00Z",
        preprocess=Preprocess(width=64, height=64),
        kinds=["product"],
        training=Training(recipe="none", command="none"),
        files={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", "card.md")},
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
    assert {"detector/model.onnx", "detector/card.md", "detector/manifest.json", *plain.files} == set(made.files)
    assert made.epoch != plain.epoch
    assert made.model_version.startswith(f"{plain.model_version}.")
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
    (joined / "detector" / "model.onnx").write_bytes(b"another")
    with pytest.raises(BundleRefused, match=r"files\.detector/model\.onnx"):
        verify_files(joined, made)
    verify_files(finder, load_detector_manifest(finder))


def test_an_edit_of_a_folder_changes_no_other(bundle: Path, tmp_path: Path) -> None:
    """Each file of both sources is written anew in place, as an editor does it, and the joined bundle stays whole."""
    finder, own, joined = detector(tmp_path / "finder"), tmp_path / "own", tmp_path / "joined"
    shutil.copytree(bundle, own)
    joined.mkdir()
    made = combine(own, finder, plan(finder), joined)
    for file in [path for folder in (own, finder) for path in folder.rglob("*") if path.is_file()]:
        file.write_bytes(b"edited")
    verify_files(joined, made)


def test_a_damaged_source_is_refused(bundle: Path, tmp_path: Path) -> None:
    finder, joined = detector(tmp_path / "finder"), tmp_path / "joined"
    joined.mkdir()
    (finder / "card.md").write_text("edited")
    with pytest.raises(BundleRefused, match=r"files\.card\.md"):
        combine(bundle, finder, plan(finder), joined)


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
        combined_manifest(joined, finder, plan(finder))
    with pytest.raises(BundleRefused, match="is detector ffffffffffff, and the plan is for 0123456789ab"):
        combined_manifest(bundle, detector(tmp_path / "other", "f" * 12), plan(finder))
    with pytest.raises(BundleRefused, match="a detector bundle is a folder"):
        plan(tmp_path / "nothing")


def test_a_long_version_stays_within_its_limit(bundle: Path, tmp_path: Path) -> None:
    finder = detector(tmp_path / "finder")
    long = tmp_path / "long"
    write_tiny_bundle(long)
    manifest = msgspec.structs.replace(load_manifest(long), model_version="v" * 64)
    (long / "manifest.json").write_bytes(encode_manifest(manifest))
    made = combined_manifest(long, finder, plan(finder))
    assert len(made.model_version) == 64
    other = msgspec.structs.replace(manifest, model_version="v" * 63 + "w")
    (long / "manifest.json").write_bytes(encode_manifest(other))
    assert combined_manifest(long, finder, plan(finder)).model_version != made.model_version


def test_the_version_changes_with_all_that_decides_the_boxes_and_with_nothing_else(
    bundle: Path, tmp_path: Path
) -> None:
    """The other graph calls itself by the same id, so that the epoch is the same."""
    finder, another = detector(tmp_path / "finder"), detector(tmp_path / "another", graph=b"another graph")
    changes = {}, {"padding": 0.3}, {"threshold": 0.3}, {"most_boxes": 3}, {"mode": "subject"}
    plans = [plan(finder, **one) for one in changes]
    made = [combined_manifest(bundle, finder, one) for one in plans]
    made.append(combined_manifest(bundle, another, plan(another)))
    assert len({one.model_version for one in made}) == len(made)
    assert made[-1].epoch == made[0].epoch
    described = detector(tmp_path / "described", card="another card")
    again = combined_manifest(bundle, described, plan(described))
    assert again.model_version == made[0].model_version
    assert content_digest(again) != content_digest(made[0])
