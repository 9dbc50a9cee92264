"""The marks table: what every step of the cleaning decided about which photo or product, and why.

A mark never deletes anything. It says that a photo is left out of the cleaned table, or that two products are one. All
steps write into one file, which only grows, so that later steps read what earlier ones decided, and every mark can be
undone and redone by its id.

Each line of the file is one JSON object with a field `line`:

    {"line": "begun", "step": "duplicates", "settings": {…}}     a step begins to write
    {"line": "mark", "step": "duplicates", "what": …, …}         one decision
    {"line": "done", "step": "duplicates", "marks": 12}          all marks of the step are written
    {"line": "undone", "id": "…"} and {"line": "redone", "id": "…"}

Of each step the last complete run counts, from `begun` to `done`. So a step can be repeated with other settings, and a
step that was killed leaves the marks of its earlier run in force. An id follows from what a mark says. So a mark that
a person undid stays undone when the step runs again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import msgspec

from schemas.errors import ConfigError

Value = str | int | float
What = Literal["no_photo", "unreadable", "same_bytes", "near_duplicate", "noise", "same_product", "relabelled"]
STEPS = ("read", "duplicates", "noise", "merge", "relabel", "review")
"""The steps in their order; each reads the marks of those before it. `review` has what a person added."""
LEAVES_OUT = frozenset({"no_photo", "unreadable", "same_bytes", "near_duplicate", "noise"})
"""What leaves a photo out of the cleaned table. `same_product` renames the product instead, and
`relabelled` keeps a photo that is `noise` under another product."""
MARKS_FILE = "marks.jsonl"


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="line", tag="mark"):
    """One decision.

    Attributes:
        step: the step that decided, one of STEPS.
        what: the decision.
        photo: path of the photo that it is about. For `same_product`, a photo that explains the merge.
        why: the numbers and words that led to it, by name. Distances are in bits or squared L2, as the name says.
        group: an id that the members of a group of duplicates, or the rounds of a merge, share.
        kept: for duplicates, the photo of the group that stays; for noise, the nearest photo of the product's cluster;
            for merges, the photo of the other product that explains it; for `relabelled`, the nearest photo of the new
            product. A photo of the step `read` has none.
        product: the product whose photo it is, or for `same_product` the label that disappears.
        into: for `same_product`, the label that it becomes; for `relabelled`, the new product.
    """

    step: str
    what: What
    photo: str = ""
    why: dict[str, Value] = {}
    group: str = ""
    kept: str = ""
    product: str = ""
    into: str = ""

    @property
    def id(self) -> str:
        """12 hex digits of step, decision, photo and product. `same_product` depends on its two labels, `relabelled` on
        the photo and the new product."""
        subjects = {"same_product": (self.product, self.into), "relabelled": (self.photo, self.into)}
        subject = subjects.get(self.what, (self.photo, self.product))
        return hashlib.sha256("\0".join((self.step, self.what, *subject)).encode()).hexdigest()[:12]


class Begun(msgspec.Struct, frozen=True, tag_field="line", tag="begun"):
    """A step begins; its earlier marks hold until it is done."""

    step: str
    settings: dict[str, Value]


class Done(msgspec.Struct, frozen=True, tag_field="line", tag="done"):
    """A step has written all its marks."""

    step: str
    marks: int


class Undone(msgspec.Struct, frozen=True, tag_field="line", tag="undone"):
    """A mark no longer counts."""

    id: str


class Redone(msgspec.Struct, frozen=True, tag_field="line", tag="redone"):
    """A mark counts again."""

    id: str


Line = Mark | Begun | Done | Undone | Redone
_DECODER = msgspec.json.Decoder(Line)
_ENCODER = msgspec.json.Encoder()


class Marks:
    """The marks of one cleaning. One process may write at a time; any number may read.

    Reading goes through the file and keeps only ids of undone marks in memory.
    """

    def __init__(self, folder: Path) -> None:
        """The table `marks.jsonl` in `folder`. There need not be one yet."""
        self.file = folder / MARKS_FILE

    def write(self, step: str, settings: Mapping[str, Value], marks: Iterable[Mark]) -> int:
        """Write all marks of a step, and return how many. They replace the marks of its earlier run.

        Raises:
            ConfigError: another process is writing.
            ValueError: the step is unknown, or a mark is of another step.
        """
        if step not in STEPS:
            raise ValueError(f"step: {step!r} is not one of {', '.join(STEPS)}")
        count = 0
        with self._writing() as file:
            self._append(file, Begun(step, dict(settings)))
            for mark in marks:
                if mark.step != step:
                    raise ValueError(f"step: a mark of {mark.step!r} among those of {step!r}")
                self._append(file, mark)
                count += 1
            self._append(file, Done(step, count))
        return count

    def in_force(self, step: str = "") -> Iterator[Mark]:
        """The marks that count now, of one step or of all, in the order in which they were written."""
        return (mark for mark, undone in self.all(step) if not undone)

    def all(self, step: str = "") -> Iterator[tuple[Mark, bool]]:
        """The marks of the last complete run of each step, and whether each is undone."""
        last, undone = self._runs()
        begun: dict[str, int] = {}
        for place, line in self._lines():
            if isinstance(line, Begun):
                begun[line.step] = place
            elif isinstance(line, Mark) and step in ("", line.step) and _counts(line.step, begun, last):
                yield line, line.id in undone

    def settings(self) -> dict[str, dict[str, Value]]:
        """Step → settings of its last complete run."""
        last, _ = self._runs()
        lines = ((place, line) for place, line in self._lines() if isinstance(line, Begun))
        return {line.step: line.settings for place, line in lines if last.get(line.step) == place}

    def written_before(self, step: str) -> set[str]:
        """The ids of all marks that were ever written before the last complete run of a step began."""
        last, _ = self._runs()
        begins = last.get(step, 0)
        return {line.id for place, line in self._lines() if place < begins and isinstance(line, Mark)}

    def left_out(self, *, before: str = "") -> set[str]:
        """The paths of photos that a mark leaves out. With `before`, only marks of earlier steps count."""
        counted = STEPS[: STEPS.index(before)] if before else STEPS
        gone = {mark.photo for mark in self.in_force() if mark.what in LEAVES_OUT and mark.step in counted}
        return gone - self.relabelled().keys() if "relabel" in counted else gone

    def relabelled(self) -> dict[str, str]:
        """Photo → the product that it has now. It counts only for photos that the step `noise` alone leaves out: if
        that mark is undone, the photo is back under its own product."""
        found = {mark.photo: mark.into for mark in self.in_force("relabel")}
        if not found:
            return {}
        noise, others = set[str](), set[str]()
        for mark in self.in_force():
            if mark.photo in found and mark.what in LEAVES_OUT:
                (noise if mark.step == "noise" else others).add(mark.photo)
        into = self.products()
        return {photo: into.get(new, new) for photo, new in found.items() if photo in noise and photo not in others}

    def products(self) -> dict[str, str]:
        """Label → the label that it becomes, with chains of merges followed to their end."""
        into = {mark.product: mark.into for mark in self.in_force("merge") if mark.what == "same_product"}
        return {label: _end(label, into) for label in into}

    def counts(self) -> Counter[str]:
        """How many marks of each kind are in force."""
        return Counter(mark.what for mark in self.in_force())

    def undo(self, ids: Iterable[str]) -> int:
        """Take these marks out of force, and return how many that were.

        Raises:
            ConfigError: no step wrote a mark of that id, or another process is writing.
        """
        return self._change(ids, undo=True)

    def redo(self, ids: Iterable[str]) -> int:
        """Put undone marks back in force, and return how many that were. Raises as `undo` does."""
        return self._change(ids, undo=False)

    def _change(self, ids: Iterable[str], *, undo: bool) -> int:
        known = {mark.id: undone for mark, undone in self.all()}
        wanted = list(dict.fromkeys(ids))
        for one in wanted:
            if one not in known:
                raise ConfigError(f"mark {one}: {self.file} has no such mark; `groknet data report` lists their ids")
        changed = [one for one in wanted if known[one] != undo]
        with self._writing() as file:
            for one in changed:
                self._append(file, Undone(one) if undo else Redone(one))
        return len(changed)

    def _runs(self) -> tuple[dict[str, int], set[str]]:
        """Where the last complete run of each step begins, and the ids that are undone."""
        begun: dict[str, int] = {}
        last: dict[str, int] = {}
        undone: set[str] = set()
        for place, line in self._lines():
            if isinstance(line, Begun):
                begun[line.step] = place
            elif isinstance(line, Done) and line.step in begun:
                last[line.step] = begun[line.step]
            elif isinstance(line, Undone):
                undone.add(line.id)
            elif isinstance(line, Redone):
                undone.discard(line.id)
        return last, undone

    def _lines(self) -> Iterator[tuple[int, Line]]:
        """Every whole line with its place in the file."""
        if not self.file.is_file():
            return
        place = 0
        with self.file.open("rb") as file:
            for number, text in enumerate(file, start=1):
                if not text.endswith(b"\n"):
                    return  # a writer was killed here, or is at work
                try:
                    yield place, _DECODER.decode(text)
                except msgspec.MsgspecError as error:
                    remedy = "restore the file, or delete it and clean again"
                    raise ConfigError(f"{self.file}, line {number}: {error}; {remedy}") from None
                place += len(text)

    @contextmanager
    def _writing(self) -> Iterator[IO[bytes]]:
        """The file at its end, locked, without the half line of a writer that was killed."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(f"{self.file}: another process is writing marks; wait until it ends") from None
            file.truncate(_whole(file))
            yield file
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _append(file: IO[bytes], line: Line) -> None:
        file.write(_ENCODER.encode(line) + b"\n")


def _counts(step: str, begun: Mapping[str, int], last: Mapping[str, int]) -> bool:
    return step in last and last[step] == begun.get(step)


def _whole(file: IO[bytes]) -> int:
    """The size of the file up to its last line end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _end(label: str, into: Mapping[str, str]) -> str:
    passed = {label}
    while (following := into.get(label)) is not None and following not in passed:
        passed.add(following)
        label = following
    return label
