"""Photos, labels, queries, recipes, views: what a run is fed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from training.data.corpus import batches, load_corpus
from training.recipe import DataSet, HeadSpec, Recipe, Schedule

torch.set_num_threads(1)


def recipe(*heads: HeadSpec, sets: tuple[str, ...] = ("shop", "street")) -> Recipe:
    datasets = [DataSet(name=name, folder=name, share=2, catalogue=1) for name in sets]
    return Recipe(name="r", size=32, cache_size=32, datasets=datasets, heads=list(heads), schedule=Schedule(steps=1))


def folder_of_photos(root: Path) -> Path:
    folder = root / "shop"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "split", "kind"])
        writer.writeheader()
        for i in range(6):
            Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(folder / f"{i}.png")
            writer.writerow({"path": f"{i}.png", "split": "train", "kind": "ab"[i % 2]})
    return folder


def test_batches_hold_fixed_shares_and_visit_every_photo(tmp_path: Path) -> None:
    folder_of_photos(tmp_path)
    plan = recipe(HeadSpec(id="kind", column="kind", datasets=["shop"]), sets=("shop",))
    corpus = load_corpus(plan, tmp_path, tmp_path / "cache")
    stream = batches(plan, corpus, 0)
    drawn = [next(stream).tolist() for _ in range(6)]
    assert all(len(batch) == 2 for batch in drawn)
    for epoch in (drawn[:3], drawn[3:]):
        assert sorted(n for batch in epoch for n in batch) == [0, 1, 2, 3, 4, 5]
    assert next(batches(plan, corpus, 4)).tolist() == drawn[4]
