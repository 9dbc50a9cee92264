"""The marks table: what is in force after steps, repetitions, kills, undo and redo."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from training.cleaning.marks import MARKS_FILE, Mark, Marks


def duplicate(photo: str, kept: str = "best.jpg") -> Mark:
    return Mark(step="duplicates", what="near_duplicate", photo=photo, kept=kept, group="g", why={"bits": 3})


def noise(photo: str) -> Mark:
    return Mark(step="noise", what="noise", photo=photo, product="mug", why={"distance": 1.25})


def merge(product: str, into: str) -> Mark:
    return Mark(step="merge", what="same_product", product=product, into=into, why={"p": 0.5})


def test_marks_of_all_steps_compose_and_can_be_undone(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    assert list(marks.in_force()) == []
    assert marks.write("duplicates", {"bits": 12}, [duplicate("a.jpg"), duplicate("b.jpg")]) == 2
    marks.write("noise", {}, [noise("c.jpg")])
    marks.write("merge", {}, [merge("x", "y"), merge("y", "z")])
    assert marks.left_out() == {"a.jpg", "b.jpg", "c.jpg"}
    assert marks.left_out(before="noise") == {"a.jpg", "b.jpg"}
    assert marks.products() == {"x": "z", "y": "z"}
    assert marks.settings() == {"duplicates": {"bits": 12}, "noise": {}, "merge": {}}
    assert marks.undo([duplicate("a.jpg").id, merge("y", "z").id]) == 2
    assert marks.undo([duplicate("a.jpg").id]) == 0
    assert marks.left_out() == {"b.jpg", "c.jpg"}
    assert marks.products() == {"x": "y"}
    assert marks.redo([duplicate("a.jpg").id]) == 1
    assert marks.left_out() == {"a.jpg", "b.jpg", "c.jpg"}


def test_a_step_that_runs_again_replaces_its_marks_and_leaves_undone_ones_undone(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.write("duplicates", {}, [duplicate("a.jpg"), duplicate("b.jpg")])
    marks.undo([duplicate("a.jpg").id])
    marks.write("duplicates", {}, [duplicate("a.jpg", kept="other.jpg"), duplicate("d.jpg")])
    assert marks.left_out() == {"d.jpg"}
    assert [undone for _, undone in marks.all("duplicates")] == [True, False]


def test_a_killed_writer_changes_nothing_wherever_it_was_killed(tmp_path: Path) -> None:
    whole = Marks(tmp_path / "whole")
    whole.write("duplicates", {}, [duplicate("a.jpg")])
    before = whole.file.stat().st_size
    whole.write("duplicates", {"again": 1}, [duplicate("b.jpg"), duplicate("c.jpg")])
    data = whole.file.read_bytes()
    draw = random.Random(5)
    for size in [before, before + 1, len(data) - 1, *(draw.randrange(before, len(data)) for _ in range(20))]:
        folder = tmp_path / str(size)
        folder.mkdir(exist_ok=True)
        (folder / MARKS_FILE).write_bytes(data[:size])
        cut = Marks(folder)
        assert cut.left_out() == {"a.jpg"}
        cut.write("noise", {}, [noise("n.jpg")])  # the half line is gone
        assert cut.left_out() == {"a.jpg", "n.jpg"}


def test_marks_that_nobody_wrote_and_damaged_files_are_refused(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.write("duplicates", {}, [duplicate("a.jpg")])
    with pytest.raises(ConfigError, match="no such mark"):
        marks.undo(["000000000000"])
    with pytest.raises(ValueError, match="step"):
        marks.write("polish", {}, [])
    with pytest.raises(ValueError, match="noise"):
        marks.write("duplicates", {}, [noise("c.jpg")])
    assert marks.left_out() == {"a.jpg"}  # the failed run is not complete
    marks.file.write_bytes(b"{}\n" + marks.file.read_bytes())
    with pytest.raises(ConfigError, match="line 1"):
        marks.left_out()


def test_merges_in_a_ring_end(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.write("merge", {}, [merge("a", "b"), merge("b", "a")])
    assert set(marks.products()) == {"a", "b"}


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    marks = Marks(tmp_path)

    def while_writing():
        with pytest.raises(ConfigError, match="another process"):
            Marks(tmp_path).write("noise", {}, [])
        yield duplicate("a.jpg")

    marks.write("duplicates", {}, while_writing())
    assert marks.left_out() == {"a.jpg"}


def test_the_marks_before_a_step_are_all_that_were_ever_written_then(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    assert marks.written_before("review") == set()
    marks.write("noise", {}, [noise("a.jpg")])
    marks.write("review", {}, [])
    marks.write("noise", {}, [noise("b.jpg")])
    marks.write("review", {}, [])
    marks.write("noise", {}, [noise("c.jpg")])
    assert marks.written_before("review") == {noise("a.jpg").id, noise("b.jpg").id}


def test_a_relabelled_photo_is_kept_only_while_the_noise_mark_alone_leaves_it_out(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    wrong = [Mark(step="noise", what="noise", photo=f"{i}.jpg", kept="x.jpg", product="cup") for i in range(3)]
    marks.write("noise", {}, wrong)
    marks.write("merge", {}, [Mark(step="merge", what="same_product", photo="a", kept="b", product="jug", into="pot")])
    moved = [
        Mark(step="relabel", what="relabelled", photo=f"{i}.jpg", kept="y.jpg", product="cup", into=into)
        for i, into in ((0, "jug"), (1, "bowl"))
    ]
    marks.write("relabel", {}, moved)
    assert marks.relabelled() == {"0.jpg": "pot", "1.jpg": "bowl"}  # merged labels have their last name
    assert marks.left_out() == {"2.jpg"}
    assert marks.left_out(before="relabel") == {"0.jpg", "1.jpg", "2.jpg"}
    marks.undo([moved[0].id])
    assert (marks.relabelled(), marks.left_out()) == ({"1.jpg": "bowl"}, {"0.jpg", "2.jpg"})
    marks.redo([moved[0].id])
    marks.undo([wrong[0].id])  # it is no wrong photo, so it is back under its own label
    assert (marks.relabelled(), marks.left_out()) == ({"1.jpg": "bowl"}, {"2.jpg"})
    marks.write("review", {}, [Mark(step="review", what="noise", photo="1.jpg", product="cup")])
    assert (marks.relabelled(), marks.left_out()) == ({}, {"1.jpg", "2.jpg"})  # a person left it out
