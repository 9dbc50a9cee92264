"""The review queue: a folder with the items to decide, and a file of decisions that only grows.

    FOLDER/items.ndjson       one item a line; replaced as a whole
    FOLDER/decisions.ndjson   one decision a line, or one line that takes an earlier decision back

Nothing is ever removed from the file of decisions, so every decision can be undone, also after a restart. Each line is
on the disk before `decide` returns. A crash can cut the last line; it is then left out, and the next decision begins a
new line.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from engines.files import replacing
from schemas.errors import ConfigError
from training.review.items import DRAFT, Decision, Item, Undone

ITEMS, DECISIONS = "items.ndjson", "decisions.ndjson"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Decision | Undone).decode


class Queue:
    """Items and the decisions about them. Safe to call from several threads; one process at a time may write."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Open the queue in `folder`, which is made if it is missing.

        Args:
            folder: of the two files.
            read_only: take no lock. `put`, `decide` and `undo` then raise RuntimeError.

        Raises:
            ConfigError: another process writes this queue, or a file is no queue; the message names file and line.
        """
        self.folder = folder
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _locked(folder / DECISIONS)
        self._items: dict[str, Item] = {}
        self._made: list[Decision] = []
        self._in_force: dict[str, list[Decision]] = {}
        self._lines = 0
        try:
            self._items = {item.id: item for item in _read(folder / ITEMS, Item)}
            for line in _read(folder / DECISIONS, Decision | Undone, torn=True):
                self._take(line)
            self._mend()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the lock. A later `decide` raises RuntimeError. A second call does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def items(self) -> Sequence[Item]:
        """All items, the most urgent first."""
        return sorted(self._items.values(), key=lambda item: -item.urgency)

    def item(self, item_id: str) -> Item:
        """One item.

        Raises:
            KeyError: there is none with this id.
        """
        return self._items[item_id]

    def put(self, items: Iterable[Item]) -> None:
        """Replace all items. Decisions stay; those of items that are no longer there stay, too.

        Raises:
            ValueError: two items have the same id.
            RuntimeError: the queue is open for reading alone, or closed.
        """
        self._writable()
        new: dict[str, Item] = {}
        for item in items:
            if item.id in new:
                raise ValueError(f"id: two items are called {item.id}; a decision could not tell them apart")
            new[item.id] = item
        with replacing(self.folder / ITEMS, sync=True) as part, part.open("wb") as file:
            file.writelines(_encode(item) + b"\n" for item in new.values())
        with self._lock:
            self._items = new

    def put_open(self, items: Iterable[Item]) -> int:
        """Replace the items that nobody has begun. An item with a decision or a draft stays as it was shown, because a
        decision names photos by their numbers in that item. Returns how many of the new items are in the queue.

        Raises:
            ValueError, RuntimeError: as `put`.
        """
        begun = [item for item in self.items if self.decision(item.id) is not None]
        ids = {item.id for item in begun}
        new = [item for item in items if item.id not in ids]
        self.put([*begun, *new])
        return len(new)

    def decide(
        self, item_id: str, choice: str, value: Mapping[str, Any] | None = None, *, seconds: float = 0.0
    ) -> Decision:
        """Store a decision about an item. It replaces the item's earlier one, which `undo` brings back.

        Args:
            item_id: of an item in the queue.
            choice: one of the item's choices, or `draft`.
            value: details; see `Decision.value`.
            seconds: how long it took the person.

        Raises:
            KeyError: there is no such item.
            ValueError: the item has no such choice.
            RuntimeError: the queue is open for reading alone, or closed.
            OSError: the decision could not be written. It is then not in force.
        """
        item = self._items[item_id]
        if choice != DRAFT and choice not in item.choices:
            raise ValueError(f"choice: {choice!r} is not a choice of {item_id}; it has {', '.join(item.choices)}")
        with self._lock:
            made = Decision(
                number=self._lines + 1,
                item=item_id,
                choice=choice,
                value=dict(value or {}),
                at=time.time(),
                seconds=max(0.0, seconds),
            )
            self._append(made)
            return self._made[-1]

    def undo(self) -> Decision | None:
        """Take back the newest decision in force about an item of the queue, and return it; None if there is none.

        Decisions about items that have left the queue stay: nobody could see what was taken back.

        Raises:
            RuntimeError, OSError: as `decide`.
        """
        with self._lock:
            last = (stack[-1] for item, stack in self._in_force.items() if item in self._items)
            newest = max(last, key=lambda d: d.number, default=None)
            if newest is not None:
                self._append(Undone(number=self._lines + 1, undoes=newest.number, at=time.time()))
            return newest

    def decision(self, item_id: str) -> Decision | None:
        """The decision in force about an item, which may be a draft; None if there is none."""
        with self._lock:
            stack = self._in_force.get(item_id)
            return stack[-1] if stack else None

    def decisions(self, *, drafts: bool = False) -> Iterator[Decision]:
        """The decision in force of each item that has one, the oldest first; drafts only on demand.

        An item may have left the queue since then.
        """
        with self._lock:
            last = [stack[-1] for stack in self._in_force.values()]
        yield from sorted((d for d in last if drafts or d.choice != DRAFT), key=lambda d: d.number)

    @property
    def made(self) -> Sequence[Decision]:
        """Every decision that was ever stored, also those that were replaced or undone: what the work cost."""
        return tuple(self._made)

    def counts(self) -> dict[str, int]:
        """How many items of the queue have each choice; `draft` for those that were begun, `open` for the others."""
        states = (self.decision(item_id) for item_id in self._items)
        return dict(Counter("open" if state is None else state.choice for state in states))

    def _writable(self) -> BinaryIO:
        if self._file is None:
            raise RuntimeError("this queue is closed, or open for reading alone")
        return self._file

    def _append(self, line: Decision | Undone) -> None:
        """Write a line, and take it as it will be read again."""
        file = self._writable()
        end = file.seek(0, os.SEEK_END)
        data = _encode(line)
        try:
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise
        self._take(_decode(data))

    def _take(self, line: Decision | Undone) -> None:
        """Bring the state in memory up to a line of the file."""
        self._lines = line.number
        if isinstance(line, Decision):
            self._made.append(line)
            self._in_force.setdefault(line.item, []).append(line)
            return
        for item, stack in self._in_force.items():
            if stack[-1].number == line.undoes:
                stack.pop()
                if not stack:
                    del self._in_force[item]
                return

    def _mend(self) -> None:
        """Cut off a last line that a crash left incomplete."""
        if self._file is None:
            return
        whole = _whole_bytes(self.folder / DECISIONS)
        if whole != self._file.seek(0, os.SEEK_END):
            self._file.truncate(whole)


def _locked(path: Path) -> BinaryIO:
    file = path.open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(f"queue: {path.parent} is open in another process; stop its review first") from None
    return file


def _read(path: Path, kind: Any, *, torn: bool = False) -> Iterator[Any]:
    """The lines of a file. If `torn`, a last line without its end is left out."""
    if not path.exists():
        return
    decode = msgspec.json.Decoder(kind).decode
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if torn and not line.endswith(b"\n"):
                return
            try:
                yield decode(line)
            except msgspec.MsgspecError as error:
                raise ConfigError(f"queue: {path}:{number}: {error}; restore the file, or move it away") from None


def _whole_bytes(path: Path) -> int:
    """The length of a file up to the end of its last whole line."""
    data = path.read_bytes()
    return data.rfind(b"\n") + 1
