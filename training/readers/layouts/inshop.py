"""`inshop`: In-shop Clothes Retrieval of DeepFashion, 52,712 photos of 7,982 items.

    Eval/list_eval_partition.txt     number of photos; header; then image_name item_id evaluation_status
                                     (train, query, gallery), separated by blanks
    Img/img/WOMEN/Dresses/id_00000002/02_1_front.jpg

Source: Liu et al., "DeepFashion", CVPR 2016; layout as documented by github.com/open-mmlab/mmfashion,
`docs/dataset/IN_SHOP_DATASET.md`, and read by github.com/open-mmlab/mmpretrain, `datasets/inshop.py`. No item of
training is in query or gallery; a query searches in the gallery. Some copies have `img/` and the list at the top.
"""

from __future__ import annotations

from pathlib import Path

from training.readers.found_rows import Found, nested, read_lines, set_aside_products

_LIST = "list_eval_partition.txt"
# test products are never trained on, so their gallery is a domain of the test split and not the split `gallery`
_STATUS = {"train": ("train", "natural"), "query": ("test", "natural"), "gallery": ("test", "gallery")}


def read_inshop(folder: Path, validation: float) -> Found:
    """Rows `path, split, domain, product, department, category, view`; the share `validation` of the training
    items becomes val."""
    found = Found()
    listed = nested(folder, _LIST, "Eval", "Anno") + _LIST
    photos = nested(folder, "img", "Img")
    for number, line in enumerate(read_lines(folder / listed)[2:], start=3):
        fields = line.split()
        if len(fields) != 3 or fields[2] not in _STATUS:
            found.skipped[f"{listed}:{number}"] = "not: image_name item_id train|query|gallery"
            continue
        name, product, status = fields
        split, domain = _STATUS[status]
        parts = name.split("/")  # img/WOMEN/Dresses/id_00000002/02_1_front.jpg
        row = {"path": photos + name, "split": split, "domain": domain, "product": product}
        if len(parts) == 5:
            row |= {"department": parts[1], "category": parts[2], "view": Path(parts[4]).stem.split("_")[-1]}
        found.rows.append(row)
    set_aside_products(found.rows, validation)
    return found
