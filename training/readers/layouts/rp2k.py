"""`rp2k`: RP2K, more than 500,000 shelf photos of some 2,000 retail products, named in Chinese.

    all/train/<product>/<photo>.jpg
    all/test/<product>/<photo>.jpg

Source: Peng et al., "RP2K: A Large-scale Retail Product Dataset for Fine-grained Image Classification",
arXiv:2006.12634; layout as documented by github.com/Graviti-AI/tensorbay-python-sdk, `opendataset/RP2K`. The archive
unpacks to `rp2k_dataset/all`. All splits know the same products.
"""

from __future__ import annotations

from pathlib import Path

from training.readers.found_rows import Found, nested, photos_below, set_aside_photos


def read_rp2k(folder: Path, validation: float) -> Found:
    """Rows `path, split, product`; `validation` of the training photos become val."""
    found = Found()
    prefix = nested(folder, "train", "all", "rp2k_dataset/all")
    for split in ("train", "test"):
        root = folder / prefix / split
        for path in photos_below(root, found, f"{prefix}{split}/"):
            product, _, photo = path.partition("/")
            if not photo:
                found.skipped[f"{prefix}{split}/{path}"] = "lies in no product's folder"
                continue
            found.rows.append({"path": f"{prefix}{split}/{path}", "split": split, "product": product})
    set_aside_photos(found.rows, validation)
    return found
