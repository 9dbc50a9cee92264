"""`sop`: Stanford Online Products, 120,053 photos of 22,634 products in 12 categories.

    Ebay_train.txt, Ebay_test.txt       image_id class_id super_class_id path; one header line, separated by blanks
    bicycle_final/111085122871_0.JPG    and eleven more folders

Source: Oh Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016; layout as read by
github.com/tensorflow/datasets, `stanford_online_products.py`. No product is in both files: a test photo
searches among all other test photos.
"""

from __future__ import annotations

from pathlib import Path

from training.readers.found_rows import Found, nested, read_lines, set_aside_products

_FILES = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}


def read_sop(folder: Path, validation: float) -> Found:
    """Rows `path, split, domain, product, category`; the share `validation` of the training
    products becomes val with all photos."""
    found = Found()
    prefix = nested(folder, _FILES["train"], "Stanford_Online_Products")
    for split, name in _FILES.items():
        lines = read_lines(folder / prefix / name)
        for number, line in enumerate(lines[1:], start=2):
            fields = line.split(maxsplit=3)
            if len(fields) != 4:
                found.skipped[f"{prefix}{name}:{number}"] = f"{len(fields)} fields, not 4"
                continue
            _, product, _, path = fields
            category = path.partition("/")[0].removesuffix("_final")
            row = {"path": prefix + path, "split": split, "domain": "natural", "product": product}
            found.rows.append(row | {"category": category})
    set_aside_products(found.rows, validation)
    return found
