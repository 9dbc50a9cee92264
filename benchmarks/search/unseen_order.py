"""Which hash, and which order of the nearest, finds products that training never saw:
`python -m benchmarks.search.unseen_order --data FOLDER --work FOLDER --checkpoint RUN/checkpoint.pt --small`.

The run is one of `benchmarks.networks.unseen`, without every fifth grocery product. Layers are fitted to its training
photos, so they have not seen these products either. Compared are rotations by their number of axes and by the power of
the spread that an axis is divided by, and ITQ: by hash, with the photo not rounded, and with the nearest 50 re-scored
by the embedding in eight bits. Products that were left out are searched by photos of the splits `train` and `val`,
which this run saw as little as their test photos; so a rule can be chosen without a test photo. `--test` measures the
latter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.networks.unseen import EVERY, RECIPE, catalogue_of, small, without_products
from benchmarks.report import page, parser, table, versions, write_page
from benchmarks.trials import column, device_name, device_of, embeddings_of, loaded, numbers_of
from engines.recognition import cosines, in_eight_bits
from training.bundle.hash_choice import embed, fit_embeddings, validation_neighbours
from training.bundle.hash_layers import Floats, half_whitened_axes, half_whitened_itq, itq, rotated_axes
from training.data.corpus import Corpus
from training.data.photos import LEFT_OUT, squash
from training.evaluation.folder import decode_row
from training.network.model import BITS, Network
from training.readers import read
from training.recipe import load_recipe

NEAREST, DRAWS, KINDS = 50, 8, 300
FIT = 2500  # training photos that layers are fitted to
ITERATIONS = 12  # of ITQ; further ones change few bits
Layer = tuple[Floats, Floats]
Rule = Callable[[Floats, int], Layer]
"""Embeddings that a layer is fitted to `[n, 400]`, and the seed of what is random, to the layer."""


@dataclass(frozen=True)
class Pair:
    """Embeddings `float32 [q, 400]` of photos and what they show `[q]`, and the same of what is searched among."""

    photos: Floats
    shown: NDArray[np.generic]
    among: Floats
    theirs: NDArray[np.generic]

    def hits(self, alike: Floats) -> float:
        """The share of photos whose nearest, by `alike [q, g]`, shows the same."""
        return float((self.theirs[alike.argmax(1)] == self.shown).mean())


def rules() -> dict[str, Rule]:
    """The ways to make 256 bits, by name; the first is the recipe's."""
    found: dict[str, Rule] = {}
    for axes, power in ((128, 0.0), (128, 0.25), (128, 0.5), (160, 0.25), (192, 0.25)):
        name = f"rotation, {axes} axes" + (f" ÷ spread^{power:g}" if power else "")
        found[name] = partial(_rotation, axes=axes, power=power)
    found["ITQ"] = lambda fit, draw: itq(fit, BITS, ITERATIONS, draw)
    for power in (0.25, 0.5):
        found[f"ITQ, axes ÷ spread^{power:g}"] = partial(_itq, power=power)
    return found


def _rotation(fit: Floats, draw: int, *, axes: int, power: float) -> Layer:
    return rotated_axes(fit, BITS, axes, draw, power)


def _itq(fit: Floats, draw: int, *, power: float) -> Layer:
    return half_whitened_itq(fit, BITS, ITERATIONS, draw, power)


def by_bits(pair: Pair, layer: Layer) -> tuple[Floats, Floats]:
    """Likeness `[q, g]` by hash, and with the photo not rounded."""
    ours, theirs = pair.photos @ layer[0].T + layer[1], np.sign(pair.among @ layer[0].T + layer[1])
    return np.sign(ours) @ theirs.T, ours @ theirs.T


def by_axes(pair: Pair, axes: NDArray[np.float64], mean: NDArray[np.float64]) -> Floats:
    """Cosines `[q, g]` of the numbers along `axes [400, a]`. What is searched among was kept in eight bits."""
    kept = in_eight_bits(pair.among).astype(np.float64)
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    ours, theirs = ((one - mean) @ axes for one in (pair.photos, kept))
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    alike: Floats = (ours @ theirs.T).astype(np.float32)
    return alike


def nearest(first: Floats, alike: Floats) -> Floats:
    """`alike [q, g]` for the `NEAREST` by `first [q, g]`; the others come last."""
    near = np.argsort(-first, axis=1, kind="stable")[:, :NEAREST]
    found = np.full_like(alike, -np.inf)
    np.put_along_axis(found, near, np.take_along_axis(alike, near, 1), 1)
    return found


def compared(fit: Floats, pairs: Mapping[str, Pair]) -> list[list[str]]:
    """The lines of the table: R@1 of every rule and pair, mean and standard deviation of DRAWS draws."""
    orders = {f"{n} axes ÷ spread^{p:g}": half_whitened_axes(fit, n, p) for n in (256, 400) for p in (0.0, 0.25, 0.5)}
    exact = {name: [by_axes(pair, *axes) for pair in pairs.values()] for name, axes in orders.items()}
    lines = [["embedding", *(f"{pair.hits(pair.photos @ pair.among.T):.3f}" for pair in pairs.values())]]
    lines += [
        [f"embedding in eight bits, {name}", *(f"{p.hits(a):.3f}" for p, a in zip(pairs.values(), found, strict=True))]
        for name, found in exact.items()
    ]
    served = [cosines(pair.photos, in_eight_bits(pair.among)) for pair in pairs.values()]
    for name, rule in rules().items():
        layers = [rule(fit, draw) for draw in range(DRAWS)]
        ways: dict[str, list[list[float]]] = {}
        for at, pair in enumerate(pairs.values()):
            for layer in layers:
                hashed, fine = by_bits(pair, layer)
                for way, alike in (
                    ("hash", hashed),
                    ("fine", fine),
                    ("re-scored", nearest(hashed, served[at])),
                ):
                    ways.setdefault(way, [[] for _ in pairs])[at].append(pair.hits(alike))
        lines += [
            [f"{way}: {name}", *(f"{np.mean(one):.3f} ± {np.std(one):.3f}" for one in shares)]
            for way, shares in ways.items()
        ]
    return lines


def left_out(network: Network, corpus: Corpus, size: int, split: str) -> Pair:
    """Photos of the left-out products, of `test` or of the other splits, among the catalogue photos of all products."""
    place = next(i for i, s in enumerate(corpus.sets) if s.spec.name == "grocery")
    if split == "test":
        numbers = numbers_of(corpus, "grocery", "test")
        numbers = numbers[[int(i) % EVERY == 0 for i in column(corpus, numbers, "product_id")]]
    else:
        numbers = corpus.starts[place] + corpus.sets[place].index(LEFT_OUT, False)
    among = catalogue_of(corpus)
    vectors = embed(network, corpus, np.concatenate([numbers, among]), size)
    shown, theirs = column(corpus, numbers, "product"), column(corpus, among, "product")
    return Pair(vectors[: len(numbers)], shown, vectors[len(numbers) :], theirs)


def strange(network: Network, folder: Path, size: int) -> Pair:
    """Test photos of freiburg among some of its training photos; right is the same kind of grocery."""
    rows = read("csv", folder).rows
    asked = [row for row in rows if row["split"] == "test"]
    train = [row for row in rows if row["split"] == "train"]
    chosen = [train[i] for i in np.sort(np.random.default_rng(0).permutation(len(train))[:KINDS])]
    found = [decode_row(folder, row, squash(size)) for row in asked + chosen]
    pixels = np.stack([one for one in found if not isinstance(one, str)])
    vectors, labels = embeddings_of(network, pixels, size), np.array([row["label"] for row in asked + chosen])
    n = len(asked)
    return Pair(vectors[:n], labels[:n], vectors[n:], labels[n:])


def main() -> int:
    """Embed, compare, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page")
    options.add_argument("--data", type=Path, required=True, help="folder with the data sets' folders")
    options.add_argument("--work", type=Path, required=True, help="folder for decoded photos; kept")
    options.add_argument("--device", help="torch device (default: the GPU, where there is one)")
    options.add_argument("--checkpoint", type=Path, required=True, help="of a run of benchmarks.networks.unseen")
    options.add_argument("--small", action="store_true", help="the run was one with `--small`")
    options.add_argument("--test", action="store_true", help="search left-out products by their test photos")
    arguments = options.parse_args()
    recipe = without_products(load_recipe(RECIPE))
    recipe = small(recipe) if arguments.small else recipe
    device = device_of(arguments.device)
    network, corpus = loaded(recipe, arguments.data, arguments.work, arguments.checkpoint, device)
    fit = fit_embeddings(network, corpus, recipe.size, most=FIT)
    grocery, studio = (
        Pair(photos, ids, gallery, theirs)
        for photos, gallery, ids, theirs in validation_neighbours(network, corpus, recipe.size)
    )
    split = "test" if arguments.test else "train and val"
    pairs = {
        f"left out ({split})": left_out(network, corpus, recipe.size, "test" if arguments.test else LEFT_OUT),
        "groceries (val)": grocery,
        "studio (val)": studio,
        "freiburg, same kind": strange(network, arguments.data / "freiburg", recipe.size),
    }
    counts = ", ".join(f"{name} {len(one.photos)} among {len(one.among)}" for name, one in pairs.items())
    body = (
        f"R@1; photos: {counts}. Layers are fitted to {len(fit)} training photos without the left-out products. Mean "
        f"and standard deviation of {DRAWS} draws.\n\n" + table(("by", *pairs), compared(fit, pairs))
    )
    command = "python -m benchmarks.search.unseen_order --data DATA --work WORK --checkpoint CHECKPOINT"
    command += f"{' --small' if arguments.small else ''}{' --test' if arguments.test else ''}"
    text = page("The order of products never seen", command, versions("torch", "numpy"), body, device_name(device))
    write_page(text, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
