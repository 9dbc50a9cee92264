"""Products that training never saw: `python -m benchmarks.unseen --data FOLDER --work FOLDER`.

A network is trained by the demo's recipe without every fifth grocery product (`product_id` that 5 divides): none of
their photos nor catalogue pictures, in training or validation. Their test photos then look for themselves among all
81 catalogue pictures, by hash, embedding and the run's own trunk feature, and by the frozen trunk's feature.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.report import page, parser, table, training_options, versions, write_page
from training.catalyzer import choose_hash
from training.corpus import Corpus
from training.model import Network
from training.recipe import Recipe, load_recipe
from training.trials import (
    Hits,
    column,
    device_name,
    device_of,
    found_first,
    frozen,
    look,
    numbers_of,
    paired_interval,
    trained,
)

RECIPE = Path(__file__).parents[1] / "training" / "recipes" / "demo.toml"
EVERY = 5


def without_products(recipe: Recipe) -> Recipe:
    """The recipe without every fifth grocery product."""
    sets = [
        msgspec.structs.replace(d, leave_out="product_id", leave_out_every=EVERY) if d.name == "grocery" else d
        for d in recipe.datasets
    ]
    return msgspec.structs.replace(recipe, datasets=sets)


def main() -> int:
    """Train, measure, write; the exit code."""
    options = parser(__doc__, tells="page")
    training_options(options, steps=0, seeds=1)
    arguments = options.parse_args()
    device = device_of(arguments.device)
    recipe = without_products(load_recipe(RECIPE))
    if arguments.steps:
        recipe = msgspec.structs.replace(
            recipe, schedule=msgspec.structs.replace(recipe.schedule, steps=arguments.steps)
        )
    network, corpus = trained(recipe, arguments.data, arguments.work, "unseen", device)
    facts = choose_hash(network, corpus, recipe.size)
    ours = _hits(network, corpus, recipe.size)
    still = _hits(frozen(recipe.trunk, device), corpus, recipe.size)["feature"]
    out = np.array([int(i) % EVERY == 0 for i in column(corpus, numbers_of(corpus, "grocery", "test"), "product_id")])
    lines = []
    for name, hits in (*ours.items(), ("frozen trunk's feature", still)):
        gap, low, high = paired_interval(hits[out], still[out])
        shares = f"{hits[out].mean():.3f}", f"{hits[~out].mean():.3f}"
        lines.append([name, *shares, f"{gap:+.1f} ({low:+.1f} … {high:+.1f})"])
    lost = {part: 100 * float(ours["embedding"][m].mean() - ours["hash"][m].mean()) for part, m in _parts(out).items()}
    body = "\n\n".join(
        [
            f"R@1 of {int(out.sum())} test photos of the left-out products and {int((~out).sum())} of the others among "
            "81 catalogue pictures. Difference on the left-out ones, in points with the 95 % interval of a paired "
            "bootstrap.",
            table(("by", "left out", "trained on", "against the frozen trunk"), lines),
            f"Hash layer: {facts['hash']} (chosen on validation photos). Against the float embedding the hash loses "
            + ", ".join(f"{points:.1f} points ({part})" for part, points in lost.items())
            + ".",
        ]
    )
    command = f"python -m benchmarks.unseen --data DATA --work WORK --steps {arguments.steps}"
    text = page("Products never seen", command, versions("torch", "numpy"), body, device_name(device))
    write_page(text, arguments.out)
    return 0


def _parts(out: Hits) -> dict[str, Hits]:
    return {"left out": out, "trained on": ~out}


def _hits(network: Network, corpus: Corpus, size: int) -> dict[str, Hits]:
    photos = look(network, corpus, numbers_of(corpus, "grocery", "test"), size)
    gallery = look(network, corpus, _catalogue(corpus), size)
    ids = column(corpus, photos.numbers, "product"), column(corpus, gallery.numbers, "product")
    return found_first(photos, gallery, *ids)


def _catalogue(corpus: Corpus) -> np.typing.NDArray[np.int64]:
    """Numbers of all catalogue pictures, of products left out too."""
    place = next(i for i, s in enumerate(corpus.sets) if s.spec.name == "grocery")
    rows = corpus.sets[place].rows
    return corpus.starts[place] + np.array([i for i, row in enumerate(rows) if row["domain"] == "iconic"], np.int64)


if __name__ == "__main__":
    sys.exit(main())
