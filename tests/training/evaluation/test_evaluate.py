"""Which photos of a folder are measured."""

from __future__ import annotations

from training.evaluation.evaluate import select
from training.readers.label_table import Row


def test_a_catalogue_of_another_held_out_split_is_no_gallery() -> None:
    def row(split: str, domain: str) -> Row:
        return {"path": f"{split}-{domain}", "split": split, "domain": domain}

    rows = [row(s, d) for s in ("train", "val", "test") for d in ("natural", "gallery")] + [row("gallery", "iconic")]
    assert [r["path"] for r in select(rows, "test")] == [
        "train-gallery",
        "test-natural",
        "test-gallery",
        "gallery-iconic",
    ]
