"""`folder`: one folder for each class, the most common layout of labelled photos.

    FOLDER/<class>/**/photo.jpg             or, with the splits as first folders,
    FOLDER/<train|val|test>/<class>/**/photo.jpg

This is the layout of torchvision's `ImageFolder` (documentation of `torchvision.datasets.ImageFolder`): the classes are
the first folders, and photos may be deeper. The split folders may also be called `training`, `valid` or `validation`.
"""

from __future__ import annotations

from pathlib import Path

from training.readers.found_rows import SPLITS, Found, chance, photos_below, set_aside_photos


def read_tree(folder: Path, validation: float) -> Found:
    """Rows `path, split, label`.

    Without split folders, a photo's name decides: the share `validation` becomes val, as much becomes test, and the
    rest train. With split folders, training photos become val only if there is no val.
    """
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
