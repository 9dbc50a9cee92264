"""What a reader found, and how validation photos are set aside if a layout has none."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from schemas.errors import ConfigError
from training.readers.label_table import Row
from training.readers.photo_paths import PHOTOS, is_junk
from training.readers.splits import chance


@dataclass
class Found:
    """What a reader found.

    Attributes:
        rows: of the photos, in an order that depends on names alone.
        skipped: file, line or sample → why it is no row.
        notes: sentences about the data set as a whole that a person should know.
        junk: files and folders that systems leave behind, which were left out.
    """

    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    junk: int = 0


def set_aside_photos(rows: list[Row], share: float) -> None:
    """Move about `share` of the training photos to `val`, for data sets whose splits know the same labels."""
    for row in rows:
        if row["split"] == "train" and chance(row["path"]) < share:
            row["split"] = "val"


def set_aside_products(rows: list[Row], share: float) -> None:
    """Move about `share` of the training products to `val` with all their photos, to measure retrieval of products
    that are not trained on.

    The first photo of each becomes its gallery photo; the others are searched with. A product with one photo stays.
    """
    photos: dict[str, list[Row]] = {}
    for row in rows:
        if row["split"] == "train":
            photos.setdefault(row["product"], []).append(row)
    for product, group in photos.items():
        if len(group) > 1 and chance(product) < share:
            for row in group:
                row["split"] = "val"
            group[0]["domain"] = "gallery"


def photos_below(root: Path, found: Found, prefix: str = "") -> Iterator[str]:
    """Photo files below `root`, as relative paths in order of name. Links to folders are followed, each folder once.

    Junk is counted in `found.junk`. Other files, and folders that cannot be read, are named in `found.skipped`.
    """
    for inside in _files(root, found, prefix):
        if PurePosixPath(inside).suffix.lower() in PHOTOS:
            yield inside
        else:
            found.skipped[prefix + inside] = "not a JPEG, PNG or WebP file"


def _with_files(root: Path, whole: str) -> Iterator[str]:
    """A file, or every file below a folder, so that each one is accounted for."""
    if not (root / whole).is_dir():
        yield whole
        return
    for folder, _, files in os.walk(root / whole):
        for name in sorted(files):
            yield Path(folder, name).relative_to(root).as_posix()


def _files(root: Path, found: Found, prefix: str) -> Iterator[str]:
    waiting = [""]  # a stack: folders may be nested more deeply than calls can be
    visited: dict[tuple[int, int], str] = {}
    while waiting:
        inside = waiting.pop()
        path = root / inside
        try:
            if inside and not path.is_dir():
                if path.is_file():
                    yield inside
                else:
                    found.skipped[prefix + inside] = "a link to nothing" if path.is_symlink() else "no plain file"
                continue
            about = path.stat()
            first = visited.setdefault((about.st_dev, about.st_ino), inside)
            if first != inside:
                found.skipped[prefix + inside] = f"a link to the folder {first or '.'}, which is read already"
                continue
            entries = os.listdir(path)
        except OSError as error:
            found.skipped[(prefix + inside) or str(root)] = f"cannot be read: {error.strerror}"
            continue
        names = [name for name in entries if not is_junk(name)]
        found.junk += len(entries) - len(names)
        for name in sorted(names, reverse=True):
            whole = f"{inside}/{name}" if inside else name
            if "\\" in name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
                for one in _with_files(root, whole):
                    found.skipped[prefix + ascii(one)[1:-1]] = (
                        "a backslash or a control character in its name; rename it"
                    )
            else:
                waiting.append(whole)


def read_lines(file: Path) -> list[str]:
    """The lines of a list that a data set comes with.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"data: {file} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def nested(folder: Path, marker: str, *inside: str) -> str:
    """Where in `folder` a data set begins, because archives unpack to different depths: "" or one of the folders
    `inside` with a slash, whichever is the first that contains `marker`.

    Raises:
        ConfigError: none of them does.
    """
    for prefix in ("", *(f"{name}/" for name in inside)):
        if (folder / prefix / marker).exists():
            return prefix
    raise ConfigError(f"data: there is no {folder / marker}; unpack the data set so that there is")
