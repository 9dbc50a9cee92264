"""Boxed photos in memory: decoded once, photos that cannot be decoded named, boxes as numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from engines.pixels import Box
from schemas.errors import ConfigError
from tests.training.detection.tiny import tiny_recipe, write_squares
from training.detection.data.boxed_set import BoxedRow, BoxedSet, boxed_set, boxes_of, known_kinds, load_boxed_sets
from training.detection.data.studio_boxes import SCENES, SINGLES
from training.detection.records import IGNORED, BoxedPhoto


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    write_squares(tmp_path / "squares")
    return tmp_path


def test_pixels_in_the_boxes_are_those_of_the_squares(squares: Path) -> None:
    found, drawn = load_boxed_sets(tiny_recipe(), squares, squares / "cache")
    assert found.pixels.shape == (8, 64, 64, 3)
    for pixels, row in zip(found.pixels, found.rows, strict=True):
        (left, top, right, bottom), colour = row.boxes[0], 0 if row.kinds == ["red"] else 1
        inside = pixels[round(top * 64) + 2 : round(bottom * 64) - 2, round(left * 64) + 2 : round(right * 64) - 2]
        assert inside[..., colour].min() > 200
        assert pixels[..., colour].mean() < 200
    assert [row.split for row in drawn.rows] == ["train"] * 3 + ["val"] * 2 + ["test"] * 4
    assert len(drawn.index("test", "scenes")) == 2


def test_the_cache_is_used_and_one_of_another_recipe_is_refused(squares: Path) -> None:
    recipe = tiny_recipe()
    first = load_boxed_sets(recipe, squares, squares / "cache")
    shutil.rmtree(squares / "squares")
    again = load_boxed_sets(recipe, squares, squares / "cache")
    assert [one.rows for one in again] == [one.rows for one in first]
    assert np.array_equal(again[0].pixels, first[0].pixels)
    np.save(squares / "cache" / "squares.npy", np.zeros((8, 96, 96, 3), np.uint8))
    with pytest.raises(ConfigError, match="another recipe"):
        load_boxed_sets(recipe, squares, squares / "cache")


def test_a_changed_set_or_table_is_read_anew(squares: Path) -> None:
    """The squares are red and green in turn; a cache of the old boxes would still say both."""

    def kinds(**changes: object) -> set[str]:
        recipe = tiny_recipe()
        spec = msgspec.structs.replace(recipe.datasets[0], **changes)
        changed = msgspec.structs.replace(recipe, datasets=[spec])
        (found,) = load_boxed_sets(changed, squares, squares / "cache")
        return {kind for row in found.rows for kind in row.kinds}

    assert kinds() == {"red", "green"}
    assert kinds(ignore=["red"]) == {IGNORED, "green"}
    assert kinds(keep=["red"]) == {"red"}
    assert kinds(kind="vase") == {"vase"}
    assert kinds() == {"red", "green"}
    made = (squares / "cache" / "squares.npy").stat().st_mtime_ns
    kinds(share=5, about="By hand.")
    assert (squares / "cache" / "squares.npy").stat().st_mtime_ns == made
    table = squares / "squares" / "boxes.csv"
    table.write_text(table.read_text().replace("red", "blue"))
    assert kinds() == {"blue", "green"}


def test_a_cache_without_a_key_is_made_anew(squares: Path) -> None:
    cache = squares / "cache"
    load_boxed_sets(tiny_recipe(), squares, cache)
    (cache / "squares.key").unlink()
    (cache / "squares.json").write_text((cache / "squares.json").read_text().replace("red", "old"))
    rows = load_boxed_sets(tiny_recipe(), squares, cache)[0].rows
    assert {kind for row in rows for kind in row.kinds} == {"red", "green"}


def test_photos_that_cannot_be_decoded_are_left_out_and_named(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no photo")
    whole = (Box(0, 0, 1, 1),)
    photos = [BoxedPhoto(tmp_path / name, whole, ("mug",)) for name in ("bad.png", "good.png", "gone.png")]
    found = boxed_set("mine", photos, 32, tmp_path / "cache")
    assert [row.path for row in found.rows] == [str(tmp_path / "good.png")]
    assert found.pixels.shape == (1, 32, 32, 3)
    assert sorted(Path(name).name for name in found.skipped) == ["bad.png", "gone.png"]


def test_boxes_become_numbers_and_ignored_ones_stand_apart() -> None:
    kinds = ["product", "cup", "mug"]
    row = BoxedRow(
        path="a", split="train", boxes=[(0, 0, 0.5, 0.5), (0.5, 0, 1, 1), (0, 0, 1, 1)], kinds=["mug", IGNORED, "new"]
    )
    found = boxes_of(row, kinds)
    assert found.kinds.tolist() == [2, 0]
    assert found.edges.tolist() == [[0, 0, 0.5, 0.5], [0, 0, 1, 1]]
    assert found.ignored.tolist() == [[0.5, 0, 1, 1]]


@pytest.mark.parametrize(("others", "ignored"), [("ignored", 1), ("background", 0)])
def test_the_other_products_of_a_photo_of_one_product_teach_what_the_recipe_says(others: str, ignored: int) -> None:
    edges, kinds = [(0, 0, 0.5, 0.5), (0.5, 0, 1, 1)], ["mug", IGNORED]
    rows = [BoxedRow(path="a", split="train", boxes=edges, kinds=kinds, sort=sort) for sort in (SINGLES, SCENES, "")]
    photos = BoxedSet("s", 1, np.zeros((3, 8, 8, 3), np.uint8), rows, others=others)
    counts = [len(photos.lesson(number, ["product", "mug"]).ignored) for number in range(3)]
    assert counts == [ignored, 1, 1]  # elsewhere, what is ignored is no product that could be the subject
    assert photos.lesson(0, ["product", "mug"]).edges.tolist() == [[0, 0, 0.5, 0.5]]


def test_kinds_with_too_few_training_boxes_are_products(squares: Path) -> None:
    sets = load_boxed_sets(tiny_recipe(), squares, squares / "cache")[:1]
    assert known_kinds(tiny_recipe(), sets) == ["product", "green", "red"]
    # of the eight squares every fourth, a red one, is a test photo: four green and two red ones teach
    assert known_kinds(msgspec.structs.replace(tiny_recipe(), least_kind=3), sets) == ["product", "green"]
    assert known_kinds(msgspec.structs.replace(tiny_recipe(), kinds=["vase"]), sets) == ["product", "vase"]


def test_boxes_and_kinds_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="1 boxes but 2 kinds"):
        BoxedPhoto(Path("a"), (Box(0, 0, 1, 1),), ("mug", "cup"))
