from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groknet.cli.exits import Exit
from groknet.cli.options import Reader
from tests.detectors import bright_detector, light
from tests.groknet.conftest import Call, write_photo
from training.readers import READERS


def test_the_command_knows_every_reader() -> None:
    assert set(Reader.__args__) == set(READERS)  # type: ignore[attr-defined]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number, path in enumerate(("train/mug/1.jpg", "train/hat/2.jpg", "val/mug/3.jpg", "test/hat/4.jpg")):
        write_photo(tmp_path / "tree" / path, number)
    (tmp_path / "tree/train/mug/5.jpg").write_bytes(b"<html>")
    (tmp_path / "tree/train/stray.jpg").write_bytes(b"x")
    return tmp_path / "tree"


FEW = (
    "a head of these photos: nothing will be offered, because 1 photos with its labels can find a threshold; "
    "49 more are missing for precision 0.9"
)


def test_check_counts_and_names(groknet: Call, tree: Path) -> None:
    quick = groknet("data", "check", tree, "--reader", "folder", "--json")
    assert quick.code == Exit.OK, quick.err
    assert quick.json == {
        "photos": {"train": 3, "val": 1, "test": 1},
        "columns": {"label": 2},
        "skipped": {"train/stray.jpg": "lies in no class folder"},
        "notes": [FEW],
    }
    whole = groknet("data", "check", tree, "--reader", "folder", "--decode", "--json").json
    assert whole["photos"]["train"] == 2
    assert "not a photo" in whole["skipped"]["train/mug/5.jpg"]
    told = groknet("data", "check", tree, "--reader", "folder")
    assert "skipped train/stray.jpg: lies in no class folder" in told.err
    assert "train" in told.out
    assert groknet("data", "check", tree).code == Exit.USAGE
    assert groknet("data", "check", tree / "nowhere").code == Exit.NOT_FOUND


def test_pack(groknet: Call, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    answer = groknet("data", "pack", tree, "--reader", "folder", "--out", out, "--per-shard", "2", "--json")
    assert answer.code == Exit.OK, answer.err
    assert answer.json["skipped"] == {"train/stray.jpg": "lies in no class folder"}
    assert (answer.json["shards"], answer.json["photos"]) == (4, 5)
    assert groknet("data", "check", out, "--reader", "webdataset", "--json").json["photos"] == {
        "test": 1,
        "train": 3,
        "val": 1,
    }
    again = groknet("data", "pack", tree, "--reader", "folder", "--out", out)
    assert again.code == Exit.USAGE
    assert "shards already" in again.err
    assert groknet("data", "pack", tree, "--reader", "folder", "--out", out, "--per-shard", "0").code == Exit.USAGE
    told = groknet("data", "pack", tree, "--reader", "folder", "--out", tmp_path / "more")
    assert "5 photos in 3 shards" in told.err


def test_weak_labels(groknet: Call, bundle: Path, tmp_path: Path) -> None:
    rows = ["path,split,product"]
    for product in range(3):
        write_photo(tmp_path / f"shop/{product}.jpg", product)
        rows.append(f"{product}.jpg,train,p{product}")
    (tmp_path / "shop/labels.csv").write_text("\n".join(rows))
    write_photo(tmp_path / "found/a.jpg", 1, side=40)
    (tmp_path / "found/b.jpg").write_bytes(b"<html>")
    options = ["--labelled", tmp_path / "shop", "--photos", tmp_path / "found"]
    answer = groknet("data", "weak-labels", bundle, *options, "--json")
    assert answer.code == Exit.OK, answer.err
    assert answer.json["counts"] | {"boxes": 1, "added": 1, "products": 1} == answer.json["counts"]
    assert answer.json["skipped"] == {"b.jpg": "cannot be decoded: not_an_image"}
    header, row = (tmp_path / "found/labels.csv").read_text().splitlines()
    assert header == ("path,box,split,domain,product,source,weak_from,weak_distance,weak_threshold,weak_model")
    assert row.startswith("a.jpg,,train,natural,p1,weak,1.jpg,0.")
    told = groknet("data", "weak-labels", bundle, *options)
    assert "skipped b.jpg" in told.err
    assert "1 rows" in told.err
    assert "too_far" in told.out
    wrong = groknet("data", "weak-labels", bundle, *options, "--threshold", "5")
    assert (wrong.code, wrong.out) == (Exit.USAGE, "")
    assert "--threshold" in wrong.err
    missing = groknet("data", "weak-labels", bundle, *options, "--boxes", "none.csv")
    assert missing.code == Exit.NOT_FOUND


@pytest.mark.slow
def test_weak_labels_of_what_a_detector_finds(groknet: Call, bundle: Path, tmp_path: Path) -> None:
    """The detector of bright cells: a photo with two of them gives two rows, each with its box."""
    bright_detector(tmp_path / "finder")
    photo = np.zeros((128, 128, 3), np.uint8)
    light(photo, 5, 250)
    light(photo, 10, 220)
    (tmp_path / "found").mkdir()
    Image.fromarray(photo).save(tmp_path / "found/a.png")
    write_photo(tmp_path / "shop/0.jpg", 0)
    (tmp_path / "shop/labels.csv").write_text("path,split,product\n0.jpg,train,p0")
    options = ["--labelled", tmp_path / "shop", "--photos", tmp_path / "found", "--threshold", "4"]
    answer = groknet("data", "weak-labels", bundle, *options, "--detector", tmp_path / "finder", "--json")
    assert answer.code == Exit.OK, answer.err
    assert answer.json["counts"]["boxes"] == 2
    rows = (tmp_path / "found/labels.csv").read_text().splitlines()[1:]
    edges = [[float(edge) for edge in row.split(",")[1].split()] for row in rows]
    for found, (left, top) in zip(edges, [(0.25, 0.25), (0.5, 0.5)], strict=True):
        wide = 0.05 * 0.25  # the padding
        assert found == pytest.approx([left - wide, top - wide, left + 0.25 + wide, top + 0.25 + wide], abs=2e-4)
    both = groknet("data", "weak-labels", bundle, *options, "--detector", tmp_path / "finder", "--boxes", tmp_path)
    assert both.code in (Exit.USAGE, Exit.NOT_FOUND)


LOG = b"""\
{"time": 1, "buyer": "b", "event": "search", "query": "Mug"}
{"time": 2, "buyer": "b", "event": "click", "listing": "l", "image": "l/0.jpg"}
{"time": 3, "buyer": "b", "event": "message", "listing": "l"}
"""


def test_query_pairs(groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.ndjson").write_bytes(LOG)
    out = tmp_path / "pairs.csv"
    answer = groknet("data", "query-pairs", tmp_path / "log.ndjson", "--out", out, "--min-images", "1", "--json")
    assert answer.code == Exit.OK, answer.err
    assert answer.json["kept"] == {"queries": 1, "photos": 1, "pairs": 1}
    assert out.read_text().splitlines()[1].startswith("l/0.jpg,")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG)))
    few = groknet("data", "query-pairs", "-", "--out", out)
    assert few.code == Exit.OK, few.err
    assert "query_of_few_photos" in few.out
    wrong = groknet("data", "query-pairs", tmp_path / "log.ndjson", "--out", out, "--click-window-s", "0")
    assert wrong.code == Exit.USAGE
    assert "--click-window-s" in wrong.err
    assert groknet("data", "query-pairs", tmp_path / "none", "--out", out).code == Exit.USAGE
