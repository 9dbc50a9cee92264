"""`folder`: one folder for each class, the most common layout of labelled photos.

    FOLDER/<class>/**/photo.jpg             or, with the splits as first folders,
    FOLDER/<train|val|test>/<class>/**/photo.jpg

This is the layout of torchvision's `ImageFolder` (documentation of `torchvision.datasets.ImageFolder`): the classes are
the first folders, and photos may be deeper. A split folder may be spelled as `readers/splits.py` says, such as
`Training`, `valid` or `test_set`. A folder that could be read in two ways is refused with what was found, because the
wrong one would train a network on the names of the splits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import ConfigError
from training.readers.found_rows import Found, photos_below, set_aside_photos
from training.readers.splits import divide, known_split

_LISTED = 6  # names of folders in a message


def read_tree(folder: Path, validation: float) -> Found:
    """Rows `path, split, label`.

    Without split folders, a photo's name decides. With split folders, training photos become val only if there is no
    val.

    Raises:
        ConfigError: it is not clear which folders are splits and which are classes.
    """
    found = Found()
    paths = [path.split("/") for path in photos_below(folder, found)]
    firsts = {parts[0]: _split(parts[0]) for parts in paths if len(parts) > 1}
    splits = {name: split for name, split in firsts.items() if split}
    if splits:
        _judge_splits(folder, paths, firsts, splits)
    else:
        _judge_classes(folder, paths)
    depth = 1 if splits else 0
    for parts in paths:
        path = "/".join(parts)
        if len(parts) <= depth + 1:
            found.skipped[path] = "lies in no class folder"
        else:
            label = unicodedata.normalize("NFC", parts[depth])  # archives of Macs hold ä as two characters
            found.rows.append({"path": path, "split": splits.get(parts[0], ""), "label": label})
    if not splits and found.rows:
        found.notes.append(divide(found.rows, validation, f"{folder} has no split folders"))
    elif not any(row["split"] == "val" for row in found.rows):
        set_aside_photos(found.rows, validation)
        found.notes.append(f"{folder} has no folder val, so {validation:g} of the training photos became val by name")
    return found


def _split(name: str) -> str | None:
    split = known_split(name)
    return None if split == "gallery" else split


def _judge_splits(
    folder: Path, paths: list[list[str]], firsts: Mapping[str, str | None], splits: Mapping[str, str]
) -> None:
    others = sorted(firsts.keys() - splits.keys())
    if others:
        raise ConfigError(
            f"data: {folder} has the split folders {_names(splits)} and beside them {_names(others)}; move what is no "
            "split out of the folder, or, if all of them are classes, put them into one folder `train`"
        )
    for split in sorted(set(splits.values())):
        same = [name for name, meant in splits.items() if meant == split]
        if len(same) > 1:
            raise ConfigError(f"data: {folder}: the folders {_names(same)} all mean {split!r}; make them one folder")
    classes = {parts[1] for parts in paths if len(parts) > 2}
    if classes and all(map(_split, classes)):
        raise ConfigError(
            f"data: {folder}: the split folders {_names(splits)} contain split folders again, {_names(classes)}, and "
            "no classes; move the class folders one level up"
        )


def _judge_classes(folder: Path, paths: list[list[str]]) -> None:
    """Splits inside classes, or one folder deeper than the classes should be."""
    inner: dict[str, set[str]] = {}
    for parts in paths:
        if len(parts) > 2:
            inner.setdefault(parts[0], set()).add(parts[1])
    for first, names in sorted(inner.items()):
        splits = {name for name in names if _split(name)}
        if splits == names and len(inner) == 1:
            raise ConfigError(
                f"data: {folder}: the split folders {_names(splits)} lie in its one folder {first!r}; give the folder "
                f"{folder / first}"
            )
        if splits == names or len(set(map(_split, splits))) > 1:
            raise ConfigError(
                f"data: {folder}: the split folders {_names(splits)} lie inside {first!r}; the splits come first: "
                f"{min(splits)}/{first}/photo.jpg"
            )


def _names(names: Mapping[str, str] | list[str] | set[str]) -> str:
    some = sorted(names)
    return ", ".join(map(repr, some[:_LISTED])) + (f" and {len(some) - _LISTED} more" if len(some) > _LISTED else "")
