"""Data sets of three layouts in one run, one of them weakly labelled: trained, exported, measured."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from schemas.taxonomy import Taxonomy
from training.bundle.export import export
from training.data.corpus import batches, load_corpus
from training.loop.train import train
from training.recipe import DataSet, HeadSpec, Metric, Recipe, Schedule

torch.set_num_threads(1)


def photo(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for n in range(24):
        split = ("train", "train", "val", "test")[n % 4]
        path = root / "tree" / split / ("mug", "hat")[n // 4 % 2] / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(n))
    (root / "shards").mkdir()
    for split in ("train", "val", "test"):
        with tarfile.open(root / f"shards/{split}.tar", "w") as tar:
            for n in range(8):
                for name, content in ((f"{n}.jpg", photo(100 + n)), (f"{n}.json", b'{"product": "p%d"}' % (n // 2))):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    (root / "weak").mkdir()
    rows = ["path,split,domain,product,box"]
    for n in range(4):
        (root / f"weak/{n}.jpg").write_bytes(photo(200 + n))
        rows.append(f"{n}.jpg,train,natural,p{n},0 0 .5 1")
    (root / "weak/labels.csv").write_text("\n".join(rows))
    return root


@pytest.mark.slow
def test_three_layouts_in_one_run(data: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        name="mixed",
        pretrained=False,
        size=48,
        cache_size=64,
        threads=1,
        datasets=[
            DataSet(name="tree", reader="folder", folder="tree", share=3),
            DataSet(name="shards", reader="webdataset", folder="shards", product="product", share=2),
            DataSet(name="weak", folder="weak", product="product", products_of="shards", share=1),
        ],
        heads=[
            HeadSpec(id="kind", column="label", datasets=["tree"]),
            HeadSpec(id="sku", column="product", datasets=["shards", "weak"]),
        ],
        metric=Metric(memory=16),
        schedule=Schedule(steps=1, warmup=1, small_size=32),
    )
    corpus = load_corpus(recipe, data, tmp_path / "run/cache")
    assert corpus.products.max() == 3  # the weak photos are of the shards' products
    assert corpus.products[-4:].tolist() == [0, 1, 2, 3]
    numbers = next(batches(recipe, corpus, 0))
    owner = np.searchsorted(np.array(corpus.starts), numbers, side="right") - 1
    assert Counter(owner.tolist()) == {0: 3, 1: 2, 2: 1}
    train(recipe, data, tmp_path / "run")
    manifest = export(recipe, data, tmp_path / "run", tmp_path / "bundle", taxonomy=Taxonomy(heads=[]))
    assert {head.id: [label.value for label in head.labels] for head in manifest.heads} == {
        "kind": ["hat", "mug"],
        "sku": ["p0", "p1", "p2", "p3"],
    }
    card = (tmp_path / "bundle/card.md").read_text()
    assert "| tree | label |" in card
    assert "| shards | product |" in card
    assert "| weak |" not in card  # all of it was trained on
