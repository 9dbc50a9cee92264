"""What a person is asked about the marks of a cleaning, and what their decisions change.

Each group of duplicates, each product with marked photos, each merge and each photo that was put under another product
is one item of the review queue. A decision takes marks back or puts them in force again; photos that the person marked
in addition become marks of the step `review`. The most doubtful items come first.

A decision is applied once: the settings of the step `review` have the number of the newest line of the queue that was
applied. What a person changes afterwards with `groknet data undo` stays so until they decide about the item again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from training.cleaning.marks import LEAVES_OUT, Mark, Marks, What
from training.cleaning.source import Source
from training.review import Decision, Item, Queue
from training.review.items import MOST_PHOTOS

ACCEPT, NONE = "leave out", "keep all"
SAME, DIFFERENT = "same product", "different products"
STEP = "review"
_SIDE = 6  # photos of each label that a merge shows
_CLUSTER = 12  # photos of the product that an item of noise shows first


@dataclass(frozen=True)
class Reviewed:
    """What the decisions changed.

    Attributes:
        decided: how many items have a decision.
        undone: marks that were taken back.
        redone: marks that were put in force again.
        added: marks of the step `review` that are new.
        seconds: mean seconds for a decision, 0 if nobody decided.
    """

    decided: int
    undone: int
    redone: int
    added: int
    seconds: float


def review_items(source: Source, marks: Marks, product: str) -> list[Item]:
    """An item for each group of marks. An item has the same id whenever it is made. Undone marks are shown, too, but
    not proposed again."""
    photos: dict[str, list[str]] = defaultdict(list)
    gone, undone = marks.left_out(), {mark.id for mark, back in marks.all() if back}
    relabelled = marks.relabelled()
    for row in source.rows:
        if row.get(product) and row["path"] not in gone:
            photos[relabelled.get(row["path"], row[product])].append(row["path"])
    items = []
    for (step, name), group in _groups(marks).items():
        if step == "duplicates":
            items.append(_duplicates(name, group, undone))
        elif step == "noise":
            items.append(_noise(name, group, photos[name], undone))
        elif step == "merge":
            items.append(_merge(group[0], photos, undone))
        else:
            items.append(_relabelled(group[0], photos, undone))
    return items


def take_decisions(queue: Queue, marks: Marks) -> Reviewed:
    """Bring the marks in line with what was decided or undone since the last call. Taking it twice changes nothing.

    A decision that was undone gives its marks the state back that the item showed, unless an earlier decision about the
    item is in force again. A mark whose photo the item did not show is left alone: nobody decided about it. Of an
    earlier decision, only marks that a step has made since then are taken back. Photos that a person added as noise
    stay marked, even if the step marks nothing in their product any more.

    Raises:
        ConfigError: another process writes marks.
    """
    items = {item.id: item for item in queue.items}
    groups = {_id(step, name): group for (step, name), group in _groups(marks).items()}
    decisions = {name: one for name, one in queue.finished().items() if name in items}
    line = _applied(queue, marks)
    reopened = {one.item for one in queue.taken_back(line) if one.number <= line}
    earlier = marks.written_before(STEP)
    wrong: list[str] = []
    right: list[str] = []
    added: list[Mark] = []
    again: list[str] = []
    for name, item in items.items():
        decision, group = decisions.get(name), groups.get(name, [])
        if decision is None and name not in reopened:
            continue
        new = decision is None or decision.number > line or name in reopened
        out = _proposed(item) if decision is None else _left_out(item, decision)
        for mark in group:
            if mark.what in LEAVES_OUT and mark.photo not in item.photos:
                continue
            if mark.what in LEAVES_OUT:
                holds = mark.photo in out
            else:
                holds = item.proposal.get("in_force", True) if decision is None else decision.choice == SAME
            if new:
                (right if holds else wrong).append(mark.id)
            elif not holds and mark.id not in earlier:
                wrong.append(mark.id)
        if decision is not None and (group or item.kind == "noise"):
            more = list(_added(item, group, out))
            added += more
            again += [mark.id for mark in more if new]
    undone, redone = marks.undo(wrong), marks.redo(right)
    before = {mark.id for mark, _ in marks.all(STEP)}
    marks.write(STEP, {"decisions": len(decisions), "line": queue.last_line}, added)  # a crash before repeats all
    redone += marks.redo(again)  # what a person added, took back with `undo`, and added again
    seconds = sum(one.seconds for one in decisions.values()) / max(1, len(decisions))
    return Reviewed(len(decisions), undone, redone, len({mark.id for mark in added} - before), seconds)


def _applied(queue: Queue, marks: Marks) -> int:
    """The number of the newest line of the queue that was applied; 0 if none was, or if the queue has begun anew."""
    line = int(marks.settings().get(STEP, {}).get("line", 0))
    return line if line <= queue.last_line else 0


def _groups(marks: Marks) -> dict[tuple[str, str], list[Mark]]:
    """The marks of the steps by what they are about: a kept photo, a product, the two labels of a merge, or a photo
    with its new product."""
    groups: dict[tuple[str, str], list[Mark]] = defaultdict(list)
    for mark, _ in marks.all():
        name = {"duplicates": mark.kept, "noise": mark.product, "merge": _pair(mark), "relabel": _move(mark)}
        if mark.step in name:
            groups[mark.step, name[mark.step]].append(mark)
    return dict(groups)


def _id(step: str, name: str) -> str:
    return f"{step}: {name}"


def _pair(mark: Mark) -> str:
    """The two labels of a merge as one text, which no other two labels have."""
    labels = (mark.product, mark.into)
    return " = ".join(map(_quoted, labels)) if "=" in "".join(labels) else " = ".join(labels)


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _move(mark: Mark) -> str:
    return f"{_quoted(mark.photo)} to {_quoted(mark.into)}"


def _duplicates(kept: str, group: Sequence[Mark], undone: Container[str]) -> Item:
    shown = [mark for mark in group if mark.photo != kept][: MOST_PHOTOS - 1]
    return Item(
        id=_id("duplicates", kept),
        kind="duplicates",
        photos=(kept, *(mark.photo for mark in shown)),
        question="Are the marked photos the same picture as the first one?",
        choices=(ACCEPT, NONE),
        proposal={"marked": [n for n, mark in enumerate(shown, start=1) if mark.id not in undone]},
        urgency=1 - min(float(mark.why.get("likeness", 1)) for mark in shown),
    )


def _noise(product: str, group: Sequence[Mark], photos: Sequence[str], undone: Container[str]) -> Item:
    """`photos` are those of the product that no mark leaves out. A photo with a mark is shown once."""
    left, marked = set(photos), {mark.photo for mark in group}
    nearest = (mark.kept for mark in group if mark.kept in left)
    own = [path for path in dict.fromkeys([*nearest, *photos]) if path not in marked][:_CLUSTER]
    shown = group[: MOST_PHOTOS - len(own)]
    # how clear a mark is: the distance beyond the radius, or by how much the photo is nearer to another product
    beyond = (float(mark.why["distance"]) - float(mark.why["loose"]) for mark in shown)
    clear = [float(mark.why.get("nearer_by", far)) for mark, far in zip(shown, beyond, strict=True)]
    return Item(
        id=_id("noise", product),
        kind="noise",
        photos=(*own, *(mark.photo for mark in shown)),
        question=f"Do the marked photos show something else than {product}?",
        choices=(ACCEPT, NONE),
        proposal={"marked": [n for n, mark in enumerate(shown, start=len(own)) if mark.id not in undone]},
        urgency=1 / (1 + min(clear)),
    )


def _merge(mark: Mark, photos: Mapping[str, Sequence[str]], undone: Container[str]) -> Item:
    one = [mark.photo, *photos.get(mark.product, ())]
    question = "Are these two labels one product?"
    shown = _sides(one, [mark.kept, *photos.get(mark.into, ())])
    return _two_sides(mark, shown, _id("merge", _pair(mark)), question, undone=mark.id in undone, clear="share")


def _relabelled(mark: Mark, photos: Mapping[str, Sequence[str]], undone: Container[str]) -> Item:
    question = f"Does the photo of {mark.product} show {mark.into}?"
    shown = _sides([mark.photo], [mark.kept, *photos.get(mark.into, ())])
    return _two_sides(mark, shown, _id("relabel", _move(mark)), question, undone=mark.id in undone, clear="clear_by")


def _sides(one: Iterable[str], other: Iterable[str]) -> tuple[list[str], list[str]]:
    """The photos of each side of an item, none of them twice."""
    left = list(dict.fromkeys(one))[:_SIDE]
    return left, [path for path in dict.fromkeys(other) if path not in left][:_SIDE]


def _two_sides(
    mark: Mark, sides: tuple[list[str], list[str]], name: str, question: str, *, undone: bool, clear: str
) -> Item:
    """An item with photos side by side. `clear` names the number of the mark that says how sure it is, 0 to 1."""
    left, right = sides
    return Item(
        id=name,
        kind="merge",
        photos=(*left, *right),
        question=question,
        choices=(SAME, DIFFERENT),
        proposal={
            "groups": [list(range(len(left))), list(range(len(left), len(left) + len(right)))],
            "names": [mark.product, mark.into],
            "in_force": not undone,
        },
        urgency=1 - float(mark.why[clear]),
    )


def _left_out(item: Item, decision: Decision) -> set[str]:
    if decision.choice != ACCEPT:
        return set()
    return _numbered(item, decision.value.get("marked", item.proposal.get("marked", [])))


def _proposed(item: Item) -> set[str]:
    return _numbered(item, item.proposal.get("marked", []))


def _numbered(item: Item, numbers: Sequence[int]) -> set[str]:
    return {item.photos[number] for number in numbers}


def _added(item: Item, group: Sequence[Mark], out: set[str]) -> Iterator[Mark]:
    """Marks for the photos that the person marked beyond those of the step."""
    known = {mark.photo for mark in group}
    what: What = "near_duplicate" if item.kind == "duplicates" else "noise"
    product = group[0].product if group else item.id.removeprefix(_id("noise", ""))
    for photo in sorted(out - known):
        yield Mark(step=STEP, what=what, photo=photo, product=product, why={"item": item.id})
