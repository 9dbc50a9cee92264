"""Items about marks, and decisions that stay with the photos that were shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.cleaning.pictures import jpeg, picture
from training.cleaning import open_source, review_items, take_decisions
from training.cleaning.marks import Mark, Marks
from training.cleaning.source import Source
from training.review import Queue
from training.review.items import MOST_PHOTOS

WHY = {"distance": 0.9, "loose": 0.5}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Eight photos of each of two products."""
    for product in ("cup", "jug"):
        (tmp_path / "photos" / product).mkdir(parents=True)
        for i in range(8):
            (tmp_path / "photos" / product / f"{i}.jpg").write_bytes(jpeg(picture(i)))
    return open_source(tmp_path / "photos")


def noise(photo: str, kept: str) -> Mark:
    return Mark(step="noise", what="noise", photo=photo, kept=kept, product=photo.partition("/")[0], why=WHY)


def test_a_photo_with_a_mark_is_shown_once_and_one_that_is_gone_not_as_the_product(
    source: Source, tmp_path: Path
) -> None:
    marks = Marks(tmp_path)
    copy = Mark(step="duplicates", what="near_duplicate", photo="cup/1.jpg", kept="cup/0.jpg", why={"likeness": 0.9})
    marks.write("duplicates", {}, [copy])
    wrong = [noise("cup/2.jpg", "cup/1.jpg"), noise("cup/3.jpg", "cup/4.jpg"), noise("cup/5.jpg", "cup/3.jpg")]
    marks.write("noise", {}, wrong)
    marks.undo([wrong[1].id])
    items = {item.id: item for item in review_items(source, marks, "product")}
    shown = items["noise: cup"].photos
    assert sorted(shown) == [f"cup/{i}.jpg" for i in (0, 2, 3, 4, 5, 6, 7)]
    assert shown[0] == "cup/4.jpg"  # the nearest of the product that is left comes first
    proposed = {shown[number] for number in items["noise: cup"].proposal["marked"]}
    assert proposed == {"cup/2.jpg", "cup/5.jpg"}  # what was taken back is not proposed again


def test_a_review_that_starts_again_keeps_what_was_decided(source: Source, tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.write("noise", {}, [noise("cup/2.jpg", "cup/0.jpg"), noise("jug/2.jpg", "jug/0.jpg")])
    with Queue(tmp_path / "review") as queue:
        queue.put_open(review_items(source, marks, "product"))
        item = queue.item("noise: cup")
        also = item.photos.index("cup/1.jpg")
        queue.decide(item.id, "leave out", {"marked": [also]})
        take_decisions(queue, marks)
        assert marks.left_out() == {"cup/1.jpg", "jug/2.jpg"}
    with Queue(tmp_path / "review") as queue:
        again = review_items(source, marks, "product")
        assert next(one for one in again if one.id == item.id).photos != item.photos  # cup/1.jpg is gone by now
        queue.put_open(again)
        take_decisions(queue, marks)
        assert marks.left_out() == {"cup/1.jpg", "jug/2.jpg"}
        queue.decide("noise: jug", "keep all")
        take_decisions(queue, marks)
    assert marks.left_out() == {"cup/1.jpg"}


@pytest.mark.parametrize("step", ["duplicates", "noise"])
def test_marks_of_photos_that_were_not_shown_are_left_alone(source: Source, tmp_path: Path, step: str) -> None:
    marks = Marks(tmp_path)
    photos = [f"cup/more{i}.jpg" for i in range(250)]
    what = "near_duplicate" if step == "duplicates" else "noise"
    why = WHY | {"likeness": 0.9}
    group = [Mark(step=step, what=what, photo=one, kept="cup/0.jpg", product="cup", why=why) for one in photos]
    marks.write(step, {}, group)
    with Queue(tmp_path / "review") as queue:
        queue.put_open(review_items(source, marks, "product"))
        (item,) = queue.items
        seen = set(photos) & set(item.photos)
        assert len(item.photos) == MOST_PHOTOS
        assert 0 < len(seen) < len(photos)
        queue.decide(item.id, "keep all")
        assert take_decisions(queue, marks).undone == len(seen)
    assert marks.left_out() == set(photos) - seen
