from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from groknet.cli.exits import Exit
from schemas.baseline import load_baseline
from schemas.manifest import MODEL_FILE, Calibration, load_manifest, verify_files
from tests.engines.detection.test_combine import detector
from tests.engines.tiny_bundle import HEADS, labels, seal, write_tiny_bundle
from tests.groknet.conftest import Call, write_photo


@pytest.fixture
def other(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "other"))


def test_inspect_tells_heads_and_thresholds(groknet: Call, bundle: Path) -> None:
    found = groknet("bundle", "inspect", bundle, "--json").json
    assert (found["model_version"], found["epoch"]) == ("tiny-1", "0123456789ab")
    assert found["bytes"][MODEL_FILE] == (bundle / MODEL_FILE).stat().st_size
    told = {head["id"]: (head["labels"], head["calibrated"], head["own_tables"]) for head in found["heads"]}
    assert told == {"colour": (3, True, 0), "words": (4, False, 1)}
    text = groknet("bundle", "inspect", bundle).out
    assert "0.600" in text
    assert "16 × 16, squash" in text


def test_inspect_needs_no_more_than_the_manifest(groknet: Call, other: Path) -> None:
    (other / MODEL_FILE).unlink()
    assert groknet("bundle", "inspect", other, "--json").json["bytes"][MODEL_FILE] is None
    assert "model.onnx missing" in groknet("bundle", "inspect", other).out


def test_verify_refuses_what_a_worker_would(groknet: Call, bundle: Path, other: Path) -> None:
    answer = groknet("bundle", "verify", bundle, "--json")
    assert (answer.code, answer.json["parity_photos"]) == (Exit.OK, 5)
    assert "5 parity photos passed" in groknet("bundle", "verify", bundle).err
    (other / MODEL_FILE).write_bytes((other / MODEL_FILE).read_bytes()[:-1])
    answer = groknet("bundle", "verify", other)
    assert answer.code == Exit.USAGE
    assert "files.model.onnx" in answer.err


def test_a_bundle_is_the_same_as_itself(groknet: Call, bundle: Path, other: Path) -> None:
    found = groknet("bundle", "diff", bundle, other, "--json").json
    assert found == {"same": True, "fields": {}, "files": [], "heads": {}, "means": []}
    assert "the same bundle" in groknet("bundle", "diff", bundle, other).err


def test_diff_says_what_changes_for_users(groknet: Call, bundle: Path, other: Path) -> None:
    colours = msgspec.structs.replace(
        HEADS[0],
        labels=labels(("red", "blue", "pink")),
        calibration=Calibration(x=[0.2, 0.5, 0.9], y=[0.0, 0.7, 1.0]),
        threshold=0.8,
    )
    size = msgspec.structs.replace(HEADS[1], id="size")
    seal(other, heads=[colours, size], epoch="ba9876543210", model_version="tiny-2")
    found = groknet("bundle", "diff", bundle, other, "--json").json
    assert found["same"] is False
    assert found["fields"]["epoch"] == ["0123456789ab", "ba9876543210"]
    assert found["files"] == []
    assert found["heads"]["words"] == {"change": "removed"}
    assert found["heads"]["size"] == {"change": "added", "labels": 4}
    colour = found["heads"]["colour"]
    assert (colour["labels_added"], colour["labels_removed"], colour["labels_moved"]) == (["pink"], ["green"], 1)
    assert (colour["threshold"], colour["calibration"]) == ([0.5, 0.8], 0.3)  # 0.4 against 0.7 at 0.5
    text = groknet("bundle", "diff", bundle, other)
    for said in ("cannot be compared", "colour no longer says green", "less often", "find nothing: words"):
        assert said in text.err
    assert "head colour threshold" in text.out


def test_a_folder_that_is_no_bundle_is_named(groknet: Call, bundle: Path, tmp_path: Path) -> None:
    assert groknet("bundle", "inspect", tmp_path / "no").code == Exit.NOT_FOUND
    answer = groknet("bundle", "diff", bundle, tmp_path)
    assert answer.code == Exit.USAGE
    assert "manifest.json" in answer.err


def test_a_baseline_changes_nothing_but_the_checksums(groknet: Call, tmp_path: Path) -> None:
    before = write_tiny_bundle(tmp_path / "bundle")
    photos = tmp_path / "photos"
    for number in range(4):
        write_photo(photos / "cups" / f"{number}.jpg", number)
    said = groknet(
        "bundle", "baseline", tmp_path / "bundle", "--data", photos, "--reader", "folder", "--split", "all", "--json"
    )
    assert said.code == 0, said.err
    assert said.json["photos"] == {"photos": 4}
    after = load_manifest(tmp_path / "bundle")
    assert (after.model_version, after.epoch, after.heads) == (before.model_version, before.epoch, before.heads)
    made = load_baseline(tmp_path / "bundle")
    assert made is not None
    assert made.heads.keys() == {head.id for head in before.heads}
    assert groknet("bundle", "verify", tmp_path / "bundle").code == 0
    missing = groknet("bundle", "baseline", tmp_path / "bundle", "--data", tmp_path / "gone")
    assert "--data" in missing.err


def test_a_bundle_and_a_detector_become_one_of_another_epoch(groknet: Call, bundle: Path, tmp_path: Path) -> None:
    finder, out = detector(tmp_path / "finder"), tmp_path / "out"
    done = groknet(
        "bundle", "with-detector", bundle, finder, "--out", out, "--mode", "all", "--most-boxes", 3, "--json"
    )
    told = done.json
    made = load_manifest(out)
    assert (told["epoch"], told["model_version"]) == (made.epoch, made.model_version)
    assert (made.detection.mode, made.detection.most_boxes, told["detector_id"]) == ("all", 3, "0123456789ab")
    assert made.epoch != load_manifest(bundle).epoch
    verify_files(out, made)
    again = groknet("bundle", "with-detector", bundle, finder, "--out", out)
    assert (again.code, "is not empty" in again.err) == (Exit.USAGE, True)
    twice = groknet("bundle", "with-detector", out, finder, "--out", tmp_path / "twice")
    assert (twice.code, "has a detector already" in twice.err) == (Exit.USAGE, True)
