"""The review queue: decisions that stay, undo against a list of snapshots, crashes and two writers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError
from training.review import Item, Queue
from training.review.queue import DECISIONS, ITEMS


def item(name: str, **changes) -> Item:
    return Item(
        **{"id": name, "kind": "noise", "photos": (f"{name}.jpg",), "question": "Same?", "choices": ("yes", "no")}
        | changes
    )


def state(queue: Queue) -> dict[str, tuple[str, dict]]:
    return {d.item: (d.choice, d.value) for d in queue.decisions(drafts=True)}


def test_the_most_urgent_item_is_first_and_equal_ones_keep_their_order(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.put([item("a"), item("b", urgency=2), item("c"), item("d", urgency=1)])
    assert [one.id for one in Queue(tmp_path, read_only=True).items] == ["b", "d", "a", "c"]


steps = st.lists(
    st.one_of(
        st.just(None),  # undo
        st.tuples(st.sampled_from("abc"), st.sampled_from(["yes", "no", "draft"]), st.integers(0, 3)),
        st.just("reopen"),
    ),
    max_size=25,
)


@settings(max_examples=25)
@given(steps)
def test_undo_brings_back_every_earlier_state_also_after_a_restart(tmp_path_factory, steps) -> None:
    """The twin keeps a copy of the whole state before each decision."""
    folder = tmp_path_factory.mktemp("queue")
    queue = Queue(folder)
    queue.put([item(name) for name in "abc"])
    now: dict[str, tuple[str, dict]] = {}
    before: list[dict[str, tuple[str, dict]]] = []
    for step in steps:
        if step == "reopen":
            queue.close()
            queue = Queue(folder)
        elif step is None:
            assert (queue.undo() is None) == (before == [])
            now = before.pop() if before else now
        else:
            name, choice, mark = step
            before.append(dict(now))
            now[name] = (choice, {"marked": [mark]})
            queue.decide(name, choice, {"marked": [mark]})
        assert state(queue) == now
    assert sum(queue.counts().values()) == 3
    assert queue.counts().get("open", 0) == 3 - len(now)
    queue.close()


def test_a_line_that_a_crash_cut_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.put([item("a"), item("b")])
        queue.decide("a", "yes")
        queue.decide("b", "no")
    file = tmp_path / DECISIONS
    file.write_bytes(file.read_bytes()[:-7])
    assert state(Queue(tmp_path, read_only=True)) == {"a": ("yes", {})}
    with Queue(tmp_path) as queue:
        queue.decide("b", "yes", seconds=2.5)
    again = Queue(tmp_path, read_only=True)
    assert state(again) == {"a": ("yes", {}), "b": ("yes", {})}
    assert sum(one.seconds for one in again.made) == 2.5


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.put([item("a")])
        queue.decide("a", "yes")
    (tmp_path / DECISIONS).write_bytes((tmp_path / DECISIONS).read_bytes() + b"{}\n")
    with pytest.raises(ConfigError, match=rf"{DECISIONS}:2: .*restore the file"):
        Queue(tmp_path)
    (tmp_path / DECISIONS).unlink()
    (tmp_path / ITEMS).write_text("[]\n")
    with pytest.raises(ConfigError, match=rf"{ITEMS}:1"):
        Queue(tmp_path)


def test_one_process_writes_and_others_may_read(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.put([item("a")])
        with pytest.raises(ConfigError, match="open in another process"):
            Queue(tmp_path)
        reader = Queue(tmp_path, read_only=True)
        with pytest.raises(RuntimeError, match="reading alone"):
            reader.decide("a", "yes")
    with Queue(tmp_path) as queue:  # the lock was released
        queue.decide("a", "yes")
    with pytest.raises(RuntimeError, match="closed"):
        queue.undo()


def test_new_items_keep_the_decisions_about_old_ones(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.put([item("a"), item("b")])
        queue.decide("a", "yes")
        queue.put([item("a", question="And now?"), item("c")])
        assert state(queue) == {"a": ("yes", {})}
        assert queue.counts() == {"yes": 1, "open": 1}


def test_an_item_that_somebody_has_begun_stays_as_it_was_shown(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.put([item("a"), item("b"), item("c"), item("d")])
        queue.decide("a", "yes")
        queue.decide("b", "draft", {"marked": [0]})
        queue.decide("c", "yes")
        queue.undo()
        assert queue.put_open(item(name, question="Now?") for name in "abce") == 2
    again = Queue(tmp_path, read_only=True)
    assert {one.id: one.question for one in again.items} == {"a": "Same?", "b": "Same?", "c": "Now?", "e": "Now?"}
    assert state(again) == {"a": ("yes", {}), "b": ("draft", {"marked": [0]})}


def test_undo_leaves_decisions_about_items_of_another_queue_alone(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.put([item("a"), item("old")])
        queue.decide("a", "yes")
        queue.decide("old", "no")
        queue.put([item("a"), item("b")])
        undone = queue.undo()
        assert undone is not None
        assert undone.item == "a"
        assert queue.undo() is None
        assert state(queue) == {"old": ("no", {})}


def test_a_decision_is_the_same_before_and_after_a_restart(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.put([item("a")])
        made = queue.decide("a", "yes", {"marked": (0,), "boxes": ({"box": (0.1, 0.2)},)}, seconds=3)
        fresh = queue.decision("a")
    assert made == fresh == Queue(tmp_path, read_only=True).decision("a")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"id": ""}, "id"),
        ({"photos": ()}, "photos"),
        ({"choices": ()}, "choices"),
        ({"photos": ("a",) * 201}, "photos"),
    ],
)
def test_an_item_that_cannot_be_shown_is_refused(changes, named) -> None:
    with pytest.raises(ValueError, match=f"^{named}: "):
        item(changes.pop("id", "a"), **changes)


def test_wrong_answers_are_refused(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.put([item("a")])
        with pytest.raises(KeyError):
            queue.decide("b", "yes")
        with pytest.raises(ValueError, match="yes, no"):
            queue.decide("a", "perhaps")
        with pytest.raises(ValueError, match="two items"):
            queue.put([item("a"), item("a")])
        assert queue.undo() is None
