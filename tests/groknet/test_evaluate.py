from __future__ import annotations

import csv
from pathlib import Path

import pytest

from groknet.exits import Exit
from tests.groknet.conftest import Call, write_photo


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six products, each with a catalogue picture and a photo that is the same bytes."""
    rows = []
    for product in range(6):
        for domain in ("iconic", "natural"):
            path = write_photo(tmp_path / f"{domain}/{product}.jpg", product)
            split = "gallery" if domain == "iconic" else "test"
            colour = ("red", "green", "mauve")[product % 3]
            rows.append([path.relative_to(tmp_path), domain, split, f"p{product}", colour])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "domain", "split", "product", "colour"])
        writer.writerows(rows)
    return tmp_path


def test_columns_and_retrieval_are_scored(groknet: Call, bundle: Path, data: Path) -> None:
    answer = groknet("evaluate", bundle, "--data", data, "--json")
    assert answer.code == Exit.OK, answer.err
    report = answer.json
    assert set(report["heads"]) == {"colour"}
    assert report["heads"]["colour"]["n"] == 4  # two photos are mauve, which the head does not know
    assert {"top1", "top5", "macro", "ece"} <= set(report["heads"]["colour"])
    for kind in ("float", "hash"):
        assert report["retrieval"][kind]["n"] == 6
        assert report["retrieval"][kind]["recall_at_10"] == 1.0
    assert report["retrieval"]["float"]["recall_at_1"] == 1.0  # a photo is nearest to its own bytes
    text = groknet("evaluate", bundle, "--data", data).out
    assert "colour" in text
    assert "recall_at_5" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--column", "colour"], "COLUMN=HEAD"),
        (["--column", "nocolumn=colour"], "nocolumn"),
        (["--column", "colour=nohead"], "nohead"),
        (["--split", "val"], "val"),
    ],
)
def test_what_cannot_be_scored_is_named(groknet: Call, bundle: Path, data: Path, options: list[str], said: str) -> None:
    answer = groknet("evaluate", bundle, "--data", data, "--json", *options)
    assert (answer.code, answer.out) == (Exit.USAGE, "")
    assert said in answer.err
