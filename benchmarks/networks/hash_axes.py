"""How many axes a rotation should keep:
`python -m benchmarks.networks.hash_axes --data FOLDER --work FOLDER --checkpoint RUN/checkpoint.pt`.

A rotation is random, so the mean over several random rotations is measured. Only validation photos are used: they are
searched among catalogue photos by the embedding, by the hash, and by the hash with the photo not rounded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.networks.unseen import RECIPE, without_products
from benchmarks.report import page, parser, table, versions, write_page
from benchmarks.trials import device_name, device_of, loaded
from training.bundle.hash_choice import Neighbours, hash_layers, validation_neighbours
from training.bundle.hash_layers import Floats, rotated_axes
from training.network.model import BITS
from training.recipe import load_recipe

Code = Callable[[Floats], Floats]


def found(pairs: Sequence[Neighbours], photo: Code, picture: Code) -> float:
    """R@1 by the inner product of the codes of photos and of catalogue photos, the mean over data sets."""
    hits = [
        float((theirs[(photo(photos) @ picture(pictures).T).argmax(1)] == ids).mean())
        for photos, pictures, ids, theirs in pairs
    ]
    return float(np.mean(hits))


def lost(fit: Floats, pairs: Sequence[Neighbours], axes: int, draws: int) -> tuple[float, float]:
    """R@1 that rotations fitted to `fit [n, 400]` lose against the embedding, the mean over `draws` random rotations:
    with both sides rounded, and with the photo not rounded."""
    rounded, kept = [], []
    for seed in range(draws):
        weight, bias = rotated_axes(fit, BITS, axes, seed)

        def margins(e: Floats, weight: Floats = weight, bias: Floats = bias) -> Floats:
            return e @ weight.T + bias

        def bits(e: Floats, margins: Code = margins) -> Floats:
            return np.sign(margins(e))

        rounded.append(found(pairs, bits, bits))
        kept.append(found(pairs, margins, bits))
    best = found(pairs, lambda e: e, lambda e: e)
    return best - float(np.mean(rounded)), best - float(np.mean(kept))


def main() -> int:
    """Embed the photos, draw the rotations, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page")
    options.add_argument("--data", type=Path, required=True, help="folder with the data sets' folders")
    options.add_argument("--work", type=Path, required=True, help="folder for decoded photos; kept")
    options.add_argument("--device", help="torch device (default: the GPU, where there is one)")
    options.add_argument("--checkpoint", type=Path, required=True, help="of a run of the demo's recipe")
    options.add_argument("--left-out", action="store_true", help="the run is one of benchmarks.networks.unseen")
    options.add_argument("--axes", type=int, nargs="+", default=[96, 112, 128, 160, 192])
    options.add_argument("--draws", type=int, default=24)
    arguments = options.parse_args()
    recipe = load_recipe(RECIPE)
    recipe = without_products(recipe) if arguments.left_out else recipe
    device = device_of(arguments.device)
    network, corpus = loaded(recipe, arguments.data, arguments.work, arguments.checkpoint, device)
    fit = hash_layers(network, corpus, recipe.size)[1]
    pairs = list(validation_neighbours(network, corpus, recipe.size))
    lines = []
    for axes in arguments.axes:
        rounded, kept = lost(fit, pairs, axes, arguments.draws)
        lines.append([axes, f"{100 * rounded:.1f}", f"{100 * kept:.1f}"])
    counts = " and ".join(str(len(photos)) for photos, *_ in pairs)
    body = (
        f"R@1 lost against the embedding by {counts} validation photos, the mean over data sets and {arguments.draws} "
        "draws, in points.\n\n" + table(("axes", "both sides rounded", "photo not rounded"), lines)
    )
    command = "python -m benchmarks.networks.hash_axes --data DATA --work WORK --checkpoint RUN/checkpoint.pt"
    command += f"{' --left-out' if arguments.left_out else ''} --draws {arguments.draws}"
    text = page("Axes of a rotation", command, versions("torch", "numpy"), body, device_name(device))
    write_page(text, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
