"""`aliproducts`: AliProducts, about 2.5 million photos of 50,030 products; training labels are unchecked.

    train.json, val.json     {"images": [{"image_id": "1849756.jpg", "class_id": "00000"}, ...]}
    train/00000/1849756.jpg, val/00000/2345.jpg

Source: Cheng et al., "Weakly Supervised Learning with Side Information for Noisy Labeled Images", ECCV 2020, and the
AliProducts Challenge of the CVPR 2020 RetailVision workshop; layout and fields as read by public code for it
(github.com/mingliangzhang2018/AliProducts-Challenge; the sample file says `id` and `category_id` instead). The
labels of the challenge's test photos were never published, so figures are those of `val`, which is the test split here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.errors import ConfigError
from training.readers.found_rows import Found, nested, set_aside_photos

_FILES = {"train": "train", "test": "val"}  # split → file and folder


def read_aliproducts(folder: Path, validation: float) -> Found:
    """Rows `path, split, product`; the share `validation` of the training photos becomes val.

    Raises:
        ConfigError: a file is no JSON object with `images`.
    """
    found = Found()
    prefix = nested(folder, "train.json", "AliProducts")
    photos = prefix if (folder / prefix / "train").is_dir() else f"{prefix}dataset/"
    for split, name in _FILES.items():
        file = f"{prefix}{name}.json"
        if split == "test" and not (folder / file).is_file():
            found.skipped[file] = "does not exist, so there is no test split"
            continue
        for number, entry in enumerate(_images(folder / file)):
            image, product = _named(entry, "image_id", "id"), _named(entry, "class_id", "category_id")
            if not image or not product:
                found.skipped[f"{file}:images[{number}]"] = "no image_id or no class_id"
                continue
            path = f"{photos}{name}/{product}/{image}"
            found.rows.append({"path": path, "split": split, "product": product})
    set_aside_photos(found.rows, validation)
    return found


def _images(file: Path) -> list[Any]:
    try:
        images = json.loads(file.read_bytes())["images"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'data: {file} is not {{"images": [...]}}: {error!r}; download it again') from None
    if not isinstance(images, list):
        raise ConfigError(f"data: {file}: `images` is no list; download it again")
    return images


def _named(entry: Any, *names: str) -> str:
    values = [entry[name] for name in names if name in entry] if isinstance(entry, dict) else []
    return str(values[0]) if values else ""
