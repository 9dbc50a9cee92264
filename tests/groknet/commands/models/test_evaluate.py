from __future__ import annotations

import csv
import re
from pathlib import Path

import msgspec
import pytest

from groknet.cli.exits import Exit
from tests.engines.tiny_bundle import HEADS, write_tiny_bundle
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
        (["--split", "val"], "use one of gallery, test, or all"),
    ],
)
def test_what_cannot_be_scored_is_named(groknet: Call, bundle: Path, data: Path, options: list[str], said: str) -> None:
    answer = groknet("evaluate", bundle, "--data", data, "--json", *options)
    assert (answer.code, answer.out) == (Exit.USAGE, "")
    assert said in answer.err


def table(folder: Path, **columns: list[str]) -> None:
    """labels.csv of the six photos alone, with `columns`."""
    rows = [{"path": f"natural/{i}.jpg", **{name: column[i] for name, column in columns.items()}} for i in range(6)]
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_photos_that_are_missing_or_unreadable_are_counted(groknet: Call, bundle: Path, data: Path) -> None:
    (data / "natural/1.jpg").unlink()
    (data / "natural/2.jpg").write_text("not a photo")
    answer = groknet("evaluate", bundle, "--data", data, "--json")
    assert answer.json["photos"] == {"listed": 12, "read": 10, "missing": 1, "unreadable": 1}
    assert "1 missing, 1 unreadable" in groknet("evaluate", bundle, "--data", data).err


def test_a_head_whose_labels_are_all_outside_is_there(groknet: Call, bundle: Path, data: Path) -> None:
    table(data, colour=["mauve"] * 6)
    found = groknet("evaluate", bundle, "--data", data, "--split", "all", "--json").json["heads"]["colour"]
    assert (found["n"], found["outside"]) == (0, 6)
    assert {found[name] for name in ("top1", "top5", "macro", "ece", "precision")} == {None}
    assert groknet("evaluate", bundle, "--data", data, "--split", "all").code == Exit.OK


def test_several_labels_in_a_cell_have_a_mean_average_precision(groknet: Call, bundle: Path, data: Path) -> None:
    table(data, words=["old|soft", "old", "new", "cosy|new", "soft", "unknown"])
    report = groknet("evaluate", bundle, "--data", data, "--split", "all", "--json").json
    assert 0 < report["heads"]["words"]["map"] <= 1
    assert (report["heads"]["words"]["n"], report["heads"]["words"]["outside"]) == (5, 1)
    assert (report["retrieval"], report["bits"]) == ({}, {})


def test_words_of_titles_are_no_column(groknet: Call, data: Path, tmp_path: Path) -> None:
    queries = msgspec.structs.replace(HEADS[1], column="query")
    write_tiny_bundle(tmp_path / "bundle", heads=[HEADS[0], queries])
    table(data, title=["old cosy chair"] * 6)
    report = groknet("evaluate", tmp_path / "bundle", "--data", data, "--split", "all", "--json").json
    assert report["heads"] == {}
    assert report["queries"]["query"]["n"] == 6


def test_the_html_report_needs_nothing_beside_it(groknet: Call, bundle: Path, data: Path) -> None:
    text = (data / "labels.csv").read_text()
    (data / "labels.csv").write_text(text.replace("p3", "<i>p3</i>"))
    html = data / "report.html"
    answer = groknet("evaluate", bundle, "--data", data, "--json", "--html", html)
    assert answer.code == Exit.OK, answer.err
    page = html.read_text(encoding="utf-8")
    assert page.count("<svg") == 2  # reliability of the one column, recall by bits
    wrong = round(answer.json["heads"]["colour"]["n"] * (1 - answer.json["heads"]["colour"]["top1"]))
    lost = round(6 * (1 - answer.json["retrieval"]["hash"]["recall_at_1"]))
    assert page.count("data:image/webp;base64,") == wrong + 3 * lost
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "<script" not in page
    assert "<i>" not in page
    assert groknet("evaluate", bundle, "--data", data, "--html", data / "no" / "x.html").code == Exit.NOT_FOUND


def test_another_layout_is_scored_by_its_reader(groknet: Call, bundle: Path, tmp_path: Path) -> None:
    lines = ["4", "image_name item_id evaluation_status"]
    for item in range(2):
        for number, status in enumerate(("query", "gallery")):
            write_photo(tmp_path / f"img/WOMEN/Dresses/id_{item}/{number}_1_front.jpg", item)
            lines.append(f"img/WOMEN/Dresses/id_{item}/{number}_1_front.jpg id_{item} {status}")
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(lines))
    answer = groknet("evaluate", bundle, "--data", tmp_path, "--reader", "inshop", "--json")
    assert answer.code == Exit.OK, answer.err
    assert answer.json["retrieval"]["float"]["n"] == 2
    assert answer.json["retrieval"]["float"]["recall_at_1"] == 1.0
