"""The recipes of PaddleClas, from training to figures, on small trees of the layouts of their data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
import torch
from PIL import Image

from engines.recognition.bundles.bundle import load_bundle
from schemas.taxonomy import Taxonomy
from training.bundle.export import export
from training.evaluation.evaluate import evaluate
from training.loop.train import train
from training.recipe import Recipe, load_recipe

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
PHOTOS = 4  # of each product
SLOW = {"trunk_rate": 1e-5, "head_rate": 1e-5}  # fast steps on random weights make numbers that no two engines share


def photo(path: Path, product: int, view: int) -> None:
    """A photo of one colour for each product, with noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng([product, view])
    colour = np.random.default_rng(product).integers(40, 215, 3)
    Image.fromarray((colour + draw.integers(-30, 30, (48, 48, 3))).astype(np.uint8)).save(path, "JPEG")


def aliproduct_tree(folder: Path) -> None:
    for split, views in (("train", range(PHOTOS)), ("val", range(PHOTOS, PHOTOS + 2))):
        images = [(f"{product:05d}", f"{product}{view}.jpg", product, view) for product in range(5) for view in views]
        for label, name, product, view in images:
            photo(folder / split / label / name, product, view)
        entries = [{"image_id": name, "class_id": label} for label, name, _, _ in images]
        (folder / f"{split}.json").write_text(json.dumps({"images": entries}))


def inshop_tree(folder: Path) -> None:
    lines = []
    for item in range(8):
        for view in range(PHOTOS):
            name = f"img/WOMEN/Dresses/id_{item:08d}/{view:02d}_1_front.jpg"
            photo(folder / "Img" / name, item, view)
            status = "train" if item < 5 else "query" if view == 0 else "gallery"
            lines.append(f"{name} id_{item:08d} {status}")
    (folder / "Eval").mkdir()
    text = "\n".join([str(len(lines)), "image_name item_id evaluation_status", *lines])
    (folder / "Eval" / "list_eval_partition.txt").write_text(text + "\n")


def small(name: str) -> Recipe:
    """The named recipe with two short steps of small photos; trunk, neck, losses and reader stay."""
    recipe = load_recipe(RECIPES / f"{name}.toml")
    plan = msgspec.structs.replace(recipe.schedule, steps=2, warmup=1, small_size=64, validations=0, **SLOW)
    sets = [msgspec.structs.replace(one, share=4) for one in recipe.datasets]
    return msgspec.structs.replace(
        recipe, schedule=plan, datasets=sets, size=64, cache_size=64, threads=1, hash_layer="trained"
    )


def trunk_of_random_weights(path: Path) -> None:
    """An untrained ResNet-50-D with small values: two engines agree on these to more digits."""
    import timm

    torch.manual_seed(1)
    body = timm.create_model("resnet50d", pretrained=False, num_classes=0)
    state = body.state_dict()
    state["bn1.weight"] = state["bn1.weight"] * 0.01  # everything behind it is linear in size
    torch.save(state, path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tree", "listed"), [("aliproduct", aliproduct_tree, 10), ("inshop", inshop_tree, 12)])
def test_a_named_recipe_runs_from_training_to_figures(
    name: str, tree: Callable[[Path], None], listed: int, tmp_path: Path
) -> None:
    tree(tmp_path / name)
    trunk_of_random_weights(tmp_path / "trunk.pt")
    recipe = msgspec.structs.replace(small(name), weights="trunk.pt")
    train(recipe, tmp_path, tmp_path / "run")
    bundle = tmp_path / "bundle"
    manifest = export(recipe, tmp_path, tmp_path / "run", bundle, taxonomy=Taxonomy(heads=[]))
    assert manifest.embedding.dim == 512
    opened = load_bundle(bundle)
    session = ort.InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    (embedding,) = session.run(["embedding"], {manifest.input: opened.photos})
    assert embedding.shape[1] == 512
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(1, abs=1e-3)
    report = evaluate(bundle, tmp_path / name, reader=recipe.datasets[0].reader)
    assert report["photos"]["missing"] == report["photos"]["unreadable"] == 0
    figure = report["heads"]["product"]["top1"] if recipe.heads else report["retrieval"]["float"]["recall_at_1"]
    assert 0 <= figure <= 1
    assert (report["photos"]["listed"], bool(report["retrieval"])) == (listed, not recipe.heads)
