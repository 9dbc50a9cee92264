"""Products that training never saw: `python -m benchmarks.networks.unseen --data FOLDER --work FOLDER`.

A network is trained with the demo's recipe but without every fifth grocery product (`product_id` divisible by 5):
neither training nor validation has a photo or a catalogue photo of them. Their test photos are then searched among all
81 catalogue photos: by every hash layer, by the embedding, by the trunk's feature, and by the frozen trunk's feature.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.report import page, parser, table, training_options, versions, write_page
from benchmarks.trials import (
    Hits,
    coded,
    column,
    device_name,
    device_of,
    found_first,
    frozen,
    hash_logits,
    loaded,
    look,
    numbered,
    numbers_of,
    paired_interval,
    trained,
)
from engines.recognition import asymmetric
from training.bundle.hash_choice import hash_layers
from training.data.corpus import Corpus
from training.evaluation.metrics import ranked_hits
from training.network.model import Network
from training.recipe import STUDIO, Recipe, load_recipe

RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "demo.toml"
EVERY = 5
SMALL = {"grocery": (24, 6), "clothing": (6, 0), "studio": (4, 2)}  # photos and catalogue photos in a batch


def small(recipe: Recipe) -> Recipe:
    """The recipe as a processor core can train it in minutes: no fashion photos and heads, a third of the photos in
    a batch, two thirds of them groceries; 128 pixels a side in place of 224, at first 96; 120 steps; a studio of 120
    products. The running mean of the weights forgets faster, because the run is short. Losses, rates and trunk stay,
    and there is no tutor."""
    sets = [
        msgspec.structs.replace(one, share=SMALL[one.name][0], catalogue=SMALL[one.name][1])
        for one in recipe.datasets
        if one.name in SMALL
    ]
    heads = [
        msgspec.structs.replace(head, datasets=[name for name in head.datasets if name in SMALL])
        for head in recipe.heads
        if not head.datasets or set(head.datasets) & set(SMALL)
    ]
    sets = [msgspec.structs.replace(one, identities=120, held_out=60) if one.reader == STUDIO else one for one in sets]
    plan = msgspec.structs.replace(recipe.schedule, steps=120, minutes=0.0, warmup=12, small_size=96, average=0.97)
    return msgspec.structs.replace(
        recipe, name="demo-small", size=128, cache_size=192, datasets=sets, heads=heads, schedule=plan, threads=1
    )


def without_products(recipe: Recipe) -> Recipe:
    """The recipe without every fifth grocery product."""
    sets = [
        msgspec.structs.replace(d, leave_out="product_id", leave_out_every=EVERY) if d.name == "grocery" else d
        for d in recipe.datasets
    ]
    return msgspec.structs.replace(recipe, datasets=sets)


def main() -> int:
    """Train, measure, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page")
    training_options(options, steps=0, seeds=1)
    options.add_argument("--checkpoint", type=Path, help="of such a run that is finished; nothing is trained")
    options.add_argument("--small", action="store_true", help="a run for two processor cores (see `small`)")
    arguments = options.parse_args()
    device = device_of(arguments.device)
    recipe = without_products(load_recipe(RECIPE))
    recipe = small(recipe) if arguments.small else recipe
    if arguments.steps:
        recipe = msgspec.structs.replace(
            recipe, schedule=msgspec.structs.replace(recipe.schedule, steps=arguments.steps)
        )
    if arguments.checkpoint:
        network, corpus = loaded(recipe, arguments.data, arguments.work, arguments.checkpoint, device)
    else:
        network, corpus = trained(
            recipe, arguments.data, arguments.work, "unseen-small" if arguments.small else "unseen", device
        )
    ours = _hits(network, corpus, recipe.size)
    mine = f"hash: {recipe.hash_layer}"
    still = _hits(frozen(recipe.trunk, device), corpus, recipe.size, hashes=False)["feature"]
    out = np.array([int(i) % EVERY == 0 for i in column(corpus, numbers_of(corpus, "grocery", "test"), "product_id")])
    lines = []
    for name, hits in (*ours.items(), ("frozen trunk's feature", still)):
        gap, low, high = paired_interval(hits[out], still[out])
        shares = f"{hits[out].mean():.3f}", f"{hits[~out].mean():.3f}"
        lines.append([name, *shares, f"{gap:+.1f} ({low:+.1f} … {high:+.1f})"])
    lost = {part: 100 * float(ours["embedding"][m].mean() - ours[mine][m].mean()) for part, m in _parts(out).items()}
    body = "\n\n".join(
        [
            f"R@1 of {int(out.sum())} test photos of the left-out products and {int((~out).sum())} of the others among "
            "81 catalogue photos. The last column is the difference on the left-out products, in points, with the 95 % "
            "interval of a paired bootstrap.",
            table(("by", "left out", "trained on", "against the frozen trunk"), lines),
            f"Compared with the float embedding, the recipe's hash, `{recipe.hash_layer}`, loses "
            + ", ".join(f"{points:.1f} points ({part})" for part, points in lost.items())
            + ".",
        ]
    )
    how = "--checkpoint CHECKPOINT" if arguments.checkpoint else f"--steps {recipe.schedule.steps}"
    how = f"--small {how}" if arguments.small else how
    command = f"python -m benchmarks.networks.unseen --data DATA --work WORK {how}"
    text = page("Products never seen", command, versions("torch", "numpy"), body, device_name(device))
    write_page(text, arguments.out)
    return 0


def _parts(out: Hits) -> dict[str, Hits]:
    return {"left out": out, "trained on": ~out}


def _hits(network: Network, corpus: Corpus, size: int, *, hashes: bool = True) -> dict[str, Hits]:
    """Hits by feature, by embedding and, with `hashes`, by every hash layer."""
    photos = look(network, corpus, numbers_of(corpus, "grocery", "test"), size)
    gallery = look(network, corpus, catalogue_of(corpus), size)
    ids = column(corpus, photos.numbers, "product"), column(corpus, gallery.numbers, "product")
    found = found_first(photos, gallery, *ids)
    del found["hash"]
    for name, layer in hash_layers(network, corpus, size)[0].items() if hashes else ():
        ours, theirs = (replace(one, code=coded(layer.cpu(), one.embedding)) for one in (photos, gallery))
        found[f"hash: {name}"] = found_first(ours, theirs, *ids)["hash"]
        distance = asymmetric(hash_logits(layer, photos.embedding), theirs.code)
        found[f"hash: {name}, photo not rounded"] = ranked_hits(distance, *numbered(*ids))[:, 0]
    return found


def catalogue_of(corpus: Corpus) -> np.typing.NDArray[np.int64]:
    """The numbers of all catalogue photos, also of products that were left out."""
    place = next(i for i, s in enumerate(corpus.sets) if s.spec.name == "grocery")
    rows = corpus.sets[place].rows
    return corpus.starts[place] + np.array([i for i, row in enumerate(rows) if row["domain"] == "iconic"], np.int64)


if __name__ == "__main__":
    sys.exit(main())
