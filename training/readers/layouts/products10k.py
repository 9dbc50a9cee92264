"""`products10k`: Products-10K, about 150,000 photos of 10,000 products of a shop.

    train.csv             name,class,group
    test_kaggletest.csv   name,class,Usage (Public, Private)
    train/1.jpg, test/1.jpg

Source: Bai et al., "Products-10K: A Large-scale Product Recognition Dataset", arXiv:2008.10545, and its competition of
the same name; file names and columns as in the competition's data. All splits know the same products.
"""

from __future__ import annotations

import csv
from pathlib import Path

from training.readers.found_rows import Found, nested, set_aside_photos
from training.readers.label_table import Row

_FILES = {"train": "train.csv", "test": "test_kaggletest.csv"}


def read_products10k(folder: Path, validation: float) -> Found:
    """Rows `path, split, product, group`. The share `validation` of the training photos becomes val.

    The test table has no groups, so a test photo gets the group of its product in training. Without the test table
    there is no test split.
    """
    found = Found()
    prefix = nested(folder, _FILES["train"], "Product10K", "products-10k")
    groups: Row = {}
    for split, name in _FILES.items():
        file = folder / prefix / name
        if split == "test" and not file.is_file():
            found.skipped[prefix + name] = "does not exist, so there is no test split"
            continue
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for number, row in enumerate(csv.DictReader(lines), start=2):
                if not row.get("name") or not row.get("class"):
                    found.skipped[f"{prefix}{name}:{number}"] = "no name or no class"
                    continue
                group = groups.setdefault(row["class"], row["group"]) if row.get("group") else groups.get(row["class"])
                made = {"path": f"{prefix}{split}/{row['name']}", "split": split, "product": row["class"]}
                found.rows.append(made | ({"group": group} if group else {}))
    set_aside_photos(found.rows, validation)
    return found
