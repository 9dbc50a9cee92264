"""One trunk for every task against a network of its own for each:
`python -m benchmarks.networks.one_trunk --data FOLDER --work FOLDER`.

The one trunk is trained with the demo's recipe and a smaller budget. Each of the other networks has one head and sees
the same photos of its own data set in as many steps. So every network has the same number of steps. With
`--same-photos` both sides have the same number of photos instead: the one trunk gets as many as all other networks
together, and both sides cost the same. All are measured on the same test photos. Intervals are by paired bootstrap.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.report import page, parser, table, training_options, versions, write_page
from benchmarks.trials import (
    Hits,
    device_name,
    device_of,
    head_hits,
    look,
    numbers_of,
    paired_interval,
    trained,
)
from training.recipe import HeadSpec, Metric, Recipe, load_recipe

RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "demo.toml"
REAL = ("grocery", "clothing", "fashion")


def budget(recipe: Recipe, steps: int, size: int) -> Recipe:
    """The recipe with `steps` steps at one size in pixels, without a limit in minutes."""
    plan = msgspec.structs.replace(recipe.schedule, steps=steps, minutes=0.0, small_share=0.0)
    return msgspec.structs.replace(recipe, size=size, schedule=plan)


def alone(recipe: Recipe, head: HeadSpec) -> Recipe:
    """The recipe of a network for one head: its data set with the same share, and no other loss."""
    sets = [d for d in recipe.datasets if d.name in head.datasets]
    metric = Metric(arcface=0.0, contrastive=0.0, relational=0.0, hash=0.0)
    single = msgspec.structs.replace(head, finer="")  # that head is left out
    return msgspec.structs.replace(recipe, datasets=sets, generic=[], heads=[single], metric=metric)


def weighed(recipe: Recipe, weights: Mapping[str, float]) -> Recipe:
    """The recipe with other weights for some heads. Raises ValueError for a head that it does not have."""
    unknown = weights.keys() - {head.id for head in recipe.heads}
    if unknown:
        known = ", ".join(head.id for head in recipe.heads)
        raise ValueError(f"--weights: recipe {recipe.name!r} has no head {sorted(unknown)[0]!r}; it has {known}")
    heads = [msgspec.structs.replace(head, weight=weights.get(head.id, head.weight)) for head in recipe.heads]
    return msgspec.structs.replace(recipe, heads=heads)


def head_weight(text: str) -> tuple[str, float]:
    """Parse HEAD=WEIGHT of the command line."""
    name, _, weight = text.partition("=")
    return name, float(weight)


def photos_a_step(recipe: Recipe) -> int:
    """The number of photos that a step sends through the trunk."""
    return sum(d.share + d.catalogue for d in recipe.datasets) * recipe.schedule.views


def main() -> int:
    """Train all networks, compare them, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page")
    training_options(options, steps=600, seeds=1)
    options.add_argument("--size", type=int, default=160, help="pixels a side (default 160)")
    options.add_argument(
        "--same-photos", action="store_true", help="same photos for each side, not same steps for each network"
    )
    options.add_argument(
        "--weights", type=head_weight, nargs="+", default=[], metavar="HEAD=WEIGHT", help="of the one trunk's losses"
    )
    arguments = options.parse_args()
    device = device_of(arguments.device)
    whole = budget(load_recipe(RECIPE), arguments.steps, arguments.size)
    heads = [h for h in whole.heads if h.kind == "softmax" and h.datasets and set(h.datasets) <= set(REAL)]
    others = {head.id: alone(whole, head) for head in heads}
    photos = {name: photos_a_step(recipe) * arguments.steps for name, recipe in others.items()}
    steps = round(sum(photos.values()) / photos_a_step(whole)) if arguments.same_photos else arguments.steps
    weights = dict(arguments.weights)
    told = "".join(f" {name}={weight:g}" for name, weight in weights.items())
    recipes = {"one": weighed(budget(whole, steps, arguments.size), weights)} | others
    folder = {"one": f"one{told.replace(' ', '-')}"}  # runs are kept, so other weights need another folder
    found: dict[str, dict[str, list[Hits]]] = {}
    for name, recipe in recipes.items():
        for seed in range(arguments.seeds):
            run = msgspec.structs.replace(recipe, seed=seed + 1)
            kept = f"one-trunk-{folder.get(name, name)}-{run.schedule.steps}-{seed}"
            hits = _hits(run, arguments.data, arguments.work, kept, device)
            for task, one in hits.items():
                found.setdefault(name, {}).setdefault(task, []).append(one)
    lines = []
    for head in heads:
        ours, theirs = (np.concatenate(found[name][head.id]) for name in ("one", head.id))
        gap, low, high = paired_interval(ours, theirs)
        figures = f"{100 * ours.mean():.1f}", f"{100 * theirs.mean():.1f}", f"{gap:+.1f}", f"{low:+.1f} … {high:+.1f}"
        lines.append([head.id, len(ours) // arguments.seeds, *figures])
    body = (
        f"{steps} steps of the one trunk ({steps * photos_a_step(whole)} photos), {arguments.steps} of each of the "
        f"others ({sum(photos.values())} photos, all together), at {arguments.size} pixels, seeds: {arguments.seeds}; "
        "top-1 of test photos in %.\n\n"
        + table(("head", "photos", "one trunk", "its own network", "difference, points", "95 % interval"), lines)
    )
    command = (
        "python -m benchmarks.networks.one_trunk --data DATA --work WORK "
        f"--steps {arguments.steps} --seeds {arguments.seeds} "
        f"--size {arguments.size}{' --same-photos' if arguments.same_photos else ''}"
        f"{f' --weights{told}' if told else ''}"
    )
    text = page("One trunk or one each", command, versions("torch", "numpy"), body, device_name(device))
    write_page(text, arguments.out)
    return 0


def _hits(recipe: Recipe, data: Path, work: Path, name: str, device: str) -> dict[str, Hits]:
    network, corpus = trained(recipe, data, work, name, device)
    hits: dict[str, Hits] = {}
    for spec in recipe.datasets:
        if spec.name in REAL:
            seen = look(network, corpus, numbers_of(corpus, spec.name, "test"), recipe.size)
            hits |= head_hits(seen, corpus)
    return hits


if __name__ == "__main__":
    sys.exit(main())
