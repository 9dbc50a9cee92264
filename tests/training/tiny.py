"""A run small enough for a test: six studio products, a trunk of random weights, two steps."""

from __future__ import annotations

from pathlib import Path

from schemas.manifest import Manifest
from schemas.taxonomy import Taxonomy
from training.bundle.export import export
from training.loop.train import train
from training.recipe import DataSet, HeadSpec, Metric, Recipe, Schedule


def tiny_recipe(steps: int = 2) -> Recipe:
    return Recipe(
        name="tiny",
        pretrained=False,
        size=48,
        cache_size=64,
        threads=1,
        datasets=[
            DataSet(
                name="studio",
                reader="studio",
                product="product",
                share=4,
                catalogue=2,
                identities=6,
                views=2,
                held_out=2,
            )
        ],
        heads=[
            HeadSpec(id="studio.category", column="category", datasets=["studio"]),
            HeadSpec(id="studio.colour", column="colour", datasets=["studio"]),
            HeadSpec(id="object", column="imagenet", source="imagenet"),
            HeadSpec(id="query", column="query", source="queries", kind="multi_label", datasets=["studio"]),
        ],
        metric=Metric(memory=16),
        schedule=Schedule(
            steps=steps, warmup=1, small_size=32, small_share=0.5, smoothing=0.1, dropout=0.2, average=0.9
        ),
    )


def tiny_bundle(folder: Path) -> tuple[Path, Manifest]:
    """Train two steps and export; returns the bundle's folder and manifest."""
    recipe = tiny_recipe()
    train(recipe, folder, folder / "run")
    bundle = folder / "bundle"
    manifest = export(recipe, folder, folder / "run", bundle, taxonomy=Taxonomy(heads=[]))
    return bundle, manifest
