"""Keeps what a detector found in photos: one line a photo, in a file of this detector alone.

A photo that is in the file is not computed again, so that a run that was stopped goes on. A photo that cannot be read
or decoded has a line with the reason; it delays nobody. `finder.py` runs the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from schemas.errors import ConfigError

LEAST_SCORE = 0.05  # boxes below it are noise, and would fill the file
Progress = Callable[[int, int], None]


class Guess(msgspec.Struct, frozen=True, array_like=True):
    """A box that a detector found: left, top, right, bottom in shares, its kind, and its score from 0 to 1."""

    box: tuple[float, float, float, float]
    kind: str
    score: float


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a detector found in one photo, or why it could not look."""

    path: str
    guesses: tuple[Guess, ...] = ()
    error: str = ""


Find = Callable[[Path, Sequence[str]], Iterator[list[Label]]]
"""The folder of photos, and their paths → the labels of all of them in this order, some at a time."""


def read_labels(file: Path) -> dict[str, Label]:
    """Path → what the detector found. A last line that a crash has cut is left out.

    Raises:
        ConfigError: a line is damaged; the message names file and line.
    """
    if not file.exists():
        return {}
    decode_line = msgspec.json.Decoder(Label).decode
    labels = {}
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                label = decode_line(line)
            except msgspec.MsgspecError as error:
                raise ConfigError(f"labels: {file}:{number}: {error}; remove the file, and label again") from None
            labels[label.path] = label
    return labels


def label(
    find: Find, root: Path, paths: Sequence[str], file: Path, progress: Progress | None = None
) -> dict[str, Label]:
    """Label the photos that the file lacks, and return the labels of all `paths`.

    Args:
        find: gives the labels of photos, as a `BoxFinder` of one detector does.
        root: folder of the photos.
        paths: of the photos, below `root`.
        file: of this detector's labels; it grows by as many at a time as `find` gives.
        progress: called with the photos done and the photos in all.

    Raises:
        ConfigError: the file is damaged.
        OSError: it cannot be written.
    """
    labels = read_labels(file)
    left = [path for path in paths if path not in labels]
    file.parent.mkdir(parents=True, exist_ok=True)
    encode = msgspec.json.Encoder().encode
    _cut_to_whole_lines(file)
    done = len(paths) - len(left)
    with file.open("ab") as out:
        for some in find(root, left):
            out.writelines(encode(one) + b"\n" for one in some)
            out.flush()
            labels.update((one.path, one) for one in some)
            done += len(some)
            if progress is not None:
                progress(done, len(paths))
    return {path: labels[path] for path in paths}


def _cut_to_whole_lines(file: Path) -> None:
    """Remove a last line that a crash has cut, so that the next one begins where it should."""
    if file.exists():
        data = file.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            with file.open("r+b") as opened:
                opened.truncate(whole)
