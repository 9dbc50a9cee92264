"""Products that training never saw: `python -m benchmarks.unseen --data FOLDER --work FOLDER`.

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
from training.recipe import Recipe, load_recipe

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
    """Train, measure, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page")
    training_options(options, steps=0, seeds=1)
    options.add_argument("--checkpoint", type=Path, help="of such a run that is finished; nothing is trained")
    arguments = options.parse_args()
    device = device_of(arguments.device)
    recipe = without_products(load_recipe(RECIPE))
    if arguments.steps:
        recipe = msgspec.structs.replace(
            recipe, schedule=msgspec.structs.replace(recipe.schedule, steps=arguments.steps)
        )
    if arguments.checkpoint:
        network, corpus = loaded(recipe, arguments.data, arguments.work, arguments.checkpoint, device)
    else:
        network, corpus = trained(recipe, arguments.data, arguments.work, "unseen", device)
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
    how = "--checkpoint CHECKPOINT" if arguments.checkpoint else f"--steps {arguments.steps}"
    command = f"python -m benchmarks.unseen --data DATA --work WORK {how}"
    text = page("Products never seen", command, versions("torch", "numpy"), body, device_name(device))
    write_page(text, arguments.out)
    return 0


def _parts(out: Hits) -> dict[str, Hits]:
    return {"left out": out, "trained on": ~out}


def _hits(network: Network, corpus: Corpus, size: int, *, hashes: bool = True) -> dict[str, Hits]:
    """Hits by feature, by embedding and, with `hashes`, by every hash layer."""
    photos = look(network, corpus, numbers_of(corpus, "grocery", "test"), size)
    gallery = look(network, corpus, _catalogue(corpus), size)
    ids = column(corpus, photos.numbers, "product"), column(corpus, gallery.numbers, "product")
    found = found_first(photos, gallery, *ids)
    del found["hash"]
    for name, layer in hash_layers(network, corpus, size)[0].items() if hashes else ():
        ours, theirs = (replace(one, code=coded(layer.cpu(), one.embedding)) for one in (photos, gallery))
        found[f"hash: {name}"] = found_first(ours, theirs, *ids)["hash"]
        distance = asymmetric(hash_logits(layer, photos.embedding), theirs.code)
        found[f"hash: {name}, photo not rounded"] = ranked_hits(distance, *numbered(*ids))[:, 0]
    return found


def _catalogue(corpus: Corpus) -> np.typing.NDArray[np.int64]:
    """The numbers of all catalogue photos, also of products that were left out."""
    place = next(i for i, s in enumerate(corpus.sets) if s.spec.name == "grocery")
    rows = corpus.sets[place].rows
    return corpus.starts[place] + np.array([i for i, row in enumerate(rows) if row["domain"] == "iconic"], np.int64)


if __name__ == "__main__":
    sys.exit(main())
