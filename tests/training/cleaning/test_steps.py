"""A whole cleaning: the steps over one folder, what each left, what an undo brings back, and the tables and report."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from engines.recognition import RecognitionEngine, build_engine
from schemas.errors import ConfigError
from tests.engines.tiny_bundle import write_tiny_bundle
from tests.training.cleaning.pictures import jpeg, picture
from training.cleaning import (
    Cleaning,
    DuplicateSettings,
    MergeSettings,
    NoiseSettings,
    RelabelSettings,
    account,
    in_this_process,
    open_source,
    review_items,
    take_decisions,
    write_labels,
    write_marks,
    write_report,
)
from training.readers import read
from training.review import Queue

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 210), "white": (235, 235, 225)}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecognitionEngine]:
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    engine = build_engine(folder)
    yield engine
    engine.close()


def tinted(seed: int, colour: tuple[int, int, int]) -> Image.Image:
    """A picture of its own, mostly of one colour, which the tiny bundle's embedding sees."""
    return Image.blend(picture(seed), Image.new("RGB", (96, 80), colour), 0.8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four products of eight photos by colour. Two photos of red are blue; one photo of green is there twice, and once
    smaller; one file is broken, and one is no photo."""
    root = tmp_path / "photos"
    for number, (name, colour) in enumerate(COLOURS.items()):
        (root / name).mkdir(parents=True)
        for i in range(8):
            shown = COLOURS["blue"] if name == "red" and i < 2 else colour
            (root / name / f"{i}.jpg").write_bytes(jpeg(tinted(100 * number + i, shown)))
    (root / "green" / "same.jpg").write_bytes((root / "green" / "0.jpg").read_bytes())
    (root / "green" / "small.jpg").write_bytes(jpeg(Image.open(root / "green" / "0.jpg").resize((48, 40))))
    (root / "blue" / "broken.jpg").write_bytes(b"broken")
    (root / "notes.txt").write_text("no photo")
    return root


def run(folder: Path, out: Path, engine: RecognitionEngine) -> Cleaning:
    cleaning = Cleaning(open_source(folder), out, "product", workers=1)
    cleaning.duplicates(cleaning.read(), DuplicateSettings())
    cleaning.noise(in_this_process(engine), NoiseSettings(strict=0.02, loose=0.04))
    cleaning.merge(in_this_process(engine), MergeSettings())
    return cleaning


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def test_every_photo_is_kept_or_left_out_for_a_reason_and_an_undo_brings_it_back(
    folder: Path, tmp_path: Path, engine: RecognitionEngine
) -> None:
    out = tmp_path / "clean"
    cleaning = run(folder, out, engine)
    marks = cleaning.marks
    left = {mark.photo: mark.what for mark in marks.in_force() if mark.what != "same_product"}
    assert left.items() >= {
        ("green/same.jpg", "same_bytes"),
        ("green/small.jpg", "near_duplicate"),
        ("blue/broken.jpg", "unreadable"),
        ("notes.txt", "no_photo"),
        ("red/0.jpg", "noise"),
        ("red/1.jpg", "noise"),
    }
    counts = account(cleaning.source, marks)
    assert counts["files"] == 36 == sum(n for name, n in counts.items() if name not in ("files", "products merged"))
    assert counts["kept"] == write_labels(cleaning.source, marks, out, "product") == 36 - len(left)
    table = rows_of(out / "labels.csv")
    assert {row["path"] for row in table} == {f"photos/{row['path']}" for row in cleaning.source.rows} - {
        f"photos/{path}" for path in left
    }
    assert len(read("csv", out).rows) == len(table)  # as training reads it
    noise = [mark.id for mark in marks.in_force("noise")]
    marks.undo(noise)
    assert write_labels(cleaning.source, marks, out, "product") == 36 - len(left) + len(noise)
    assert write_marks(marks, out / "marks.csv") == len(list(marks.all()))
    assert Counter(row["undone"] for row in rows_of(out / "marks.csv"))["yes"] == len(noise)


def test_wrong_photos_go_to_their_product_and_an_undo_takes_them_out_again(
    folder: Path, tmp_path: Path, engine: RecognitionEngine
) -> None:
    out = tmp_path / "clean"
    cleaning = run(folder, out, engine)
    before = account(cleaning.source, cleaning.marks)
    # blue and white differ by a cosine of .009 for the tiny bundle, which sees colours alone
    cleaning.relabel(in_this_process(engine), RelabelSettings(clear_by=0.005))

    def labels() -> dict[str, str]:
        return {row["path"]: row["product"] for row in rows_of(out / "labels.csv")}

    write_labels(cleaning.source, cleaning.marks, out, "product")
    assert labels()["photos/red/0.jpg"] == labels()["photos/red/1.jpg"] == "blue"
    after = account(cleaning.source, cleaning.marks)
    assert after["relabelled"] == len(cleaning.marks.relabelled()) >= 2
    assert after["noise"] == before["noise"] - after["relabelled"]
    assert after["files"] == before["files"]
    page = write_report(cleaning.source, cleaning.marks, out).read_text()
    assert "from <b>red</b> to <b>blue</b>" in page
    items = {item.id: item for item in review_items(cleaning.source, cleaning.marks, "product")}
    item = items['relabel: "red/0.jpg" to "blue"']
    assert item.photos[0] == "red/0.jpg"
    assert all(labels()[f"photos/{path}"] == "blue" for path in item.photos)
    with Queue(tmp_path / "queue") as queue:
        queue.put(items.values())
        queue.decide(item.id, "different products")
        take_decisions(queue, cleaning.marks)
        write_labels(cleaning.source, cleaning.marks, out, "product")
        assert "photos/red/0.jpg" not in labels()
        assert labels()["photos/red/1.jpg"] == "blue"
        queue.undo()
        take_decisions(queue, cleaning.marks)
    write_labels(cleaning.source, cleaning.marks, out, "product")
    assert labels()["photos/red/0.jpg"] == "blue"


def test_relabelling_needs_a_de_noising(folder: Path, tmp_path: Path, engine: RecognitionEngine) -> None:
    cleaning = Cleaning(open_source(folder), tmp_path / "clean", "product", workers=1)
    cleaning.read()
    with pytest.raises(ConfigError, match="run denoise first"):
        cleaning.relabel(in_this_process(engine), RelabelSettings())


def test_a_report_has_the_counts_the_photos_and_no_script(
    folder: Path, tmp_path: Path, engine: RecognitionEngine
) -> None:
    cleaning = run(folder, tmp_path / "clean", engine)
    page = write_report(cleaning.source, cleaning.marks, cleaning.out, seconds=10).read_text()
    counts = account(cleaning.source, cleaning.marks)
    assert f"<td>files in all</td><td>{counts['files']}</td>" in page
    decisions = len(list(cleaning.marks.in_force()))
    assert f"made {decisions} decisions" in page
    assert f"{decisions * 10 / 3600:,.1f} person-hours" in page
    assert page.count("data:image/webp;base64,") >= 6
    assert "<script" not in page
    assert {mark.id for mark in cleaning.marks.in_force("duplicates")} <= set(re.findall(r"\b[0-9a-f]{12}\b", page))


def test_decisions_of_a_person_take_marks_back_and_add_marks(
    folder: Path, tmp_path: Path, engine: RecognitionEngine
) -> None:
    cleaning = run(folder, tmp_path / "clean", engine)
    before = cleaning.marks.left_out()
    items = {item.id: item for item in review_items(cleaning.source, cleaning.marks, "product")}
    assert {"duplicates: green/0.jpg", "noise: red"} <= set(items)
    noise = items["noise: red"]
    wrong = {noise.photos[i] for i in noise.proposal["marked"]}
    good = noise.photos[0]
    with Queue(tmp_path / "queue") as queue:
        queue.put(items.values())
        queue.decide("duplicates: green/0.jpg", "keep all", seconds=2)
        queue.decide("noise: red", "leave out", {"marked": [0, noise.photos.index("red/0.jpg")]}, seconds=4)
        found = take_decisions(queue, cleaning.marks)
        assert (found.decided, found.added, found.seconds) == (2, 1, 3)
        after = before - {"green/same.jpg", "green/small.jpg"} - wrong | {"red/0.jpg", good}
        assert cleaning.marks.left_out() == after
        again = take_decisions(queue, cleaning.marks)
        assert (again.undone, again.redone, again.added) == (0, 0, 0)
        queue.undo()
        take_decisions(queue, cleaning.marks)
        assert good not in cleaning.marks.left_out()


def test_a_folder_that_cleans_another_one_is_refused(folder: Path, tmp_path: Path) -> None:
    Cleaning(open_source(folder), tmp_path / "clean", "product")
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jpg").write_bytes(jpeg(picture(1)))
    with pytest.raises(ConfigError, match="cleaning of"):
        Cleaning(open_source(other), tmp_path / "clean", "product")
    (tmp_path / "clean" / "labels.csv").write_text("path,product\n")
    with pytest.raises(ConfigError, match="not made by this command"):
        write_labels(
            open_source(folder),
            Cleaning(open_source(folder), tmp_path / "clean", "product").marks,
            tmp_path / "clean",
            "product",
        )


def test_steps_may_run_without_products(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(3):
        (tmp_path / "photos" / f"{i}.jpg").write_bytes(jpeg(picture(i % 2)))
    cleaning = Cleaning(open_source(tmp_path / "photos"), tmp_path / "clean", "product", workers=1)
    assert cleaning.duplicates(cleaning.read(), DuplicateSettings()) == 1
    assert not cleaning.has_products()
    assert account(cleaning.source, cleaning.marks)["kept"] == 2
