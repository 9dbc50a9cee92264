"""`folder`: a folder a class, as most labelled photos of the world lie.

    FOLDER/<class>/**/photo.jpg             or, with the splits as first folders,
    FOLDER/<train|val|test>/<class>/**/photo.jpg

The layout of torchvision's `ImageFolder` (its documentation, `torchvision.datasets.ImageFolder`), whose classes are the
first folders and whose photos may lie deeper. `training`, `valid` and `validation` are understood as well.
"""

from __future__ import annotations

from pathlib import Path

from training.readers.found_rows import SPLITS, Found, chance, photos_below, set_aside_photos


def read_tree(folder: Path, validation: float) -> Found:
    """Rows `path, split, label`. Without split folders, each photo's name puts it into val (`validation` of them), test
    (as many) or train; with them, training photos are set aside only where there is no val."""
    found = Found()
    firsts = {p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")}
    splits = bool(firsts) and firsts <= SPLITS.keys()
    for path in photos_below(folder, found):
        parts = path.split("/")
        label = parts[splits] if len(parts) > splits + 1 else None
        if label is None:
            found.skipped[path] = "lies in no class folder"
        else:
            found.rows.append({"path": path, "split": SPLITS[parts[0]] if splits else "train", "label": label})
    if not splits:
        for row in found.rows:
            drawn = chance(row["path"])
            row["split"] = "val" if drawn < validation else "test" if drawn < 2 * validation else "train"
    elif not any(row["split"] == "val" for row in found.rows):
        set_aside_photos(found.rows, validation)
    return found
