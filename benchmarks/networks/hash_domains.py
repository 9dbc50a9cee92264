"""Which hash layer pays on which kind of photo: `python -m benchmarks.networks.hash_domains --data FOLDER --cache
FOLDER`.

Layers are fitted to the training photos of the demo's data sets, as `groknet bundle rehash` fits them. Validation
photos are then searched among catalogue photos: groceries, whose products the network knows, and studio products that
it never saw. Photos of `freiburg`, which it never learnt from, are searched among other photos of it; right is the same
kind of grocery. The cache of features is that of `groknet bundle refit` and `rehash`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, versions, write_page
from engines.recognition import cosines, in_eight_bits, load_bundle
from engines.recognition.outputs.hash_layer import read_hash_layer
from schemas.manifest import MODEL_FILE
from training.bundle.applying.features import CROSS, Seen, Tail, Trunk, some_of
from training.bundle.applying.finish import rows_of
from training.bundle.applying.graph import take_applicability_away
from training.bundle.hash_layers import Floats, rotated_axes
from training.bundle.rehash import fit_photos
from training.network.model import BITS
from training.readers import read
from training.readers.label_table import is_catalogue
from training.recipe import load_recipe

RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "demo.toml"
DRAWS = 6
AXES_AND_POWERS = ((128, 0.0), (128, 0.3), (128, 0.5), (96, 0.5), (160, 0.5))
Pair = tuple[Floats, NDArray[np.str_], Floats, NDArray[np.str_]]
"""Embeddings `[q, d]` of photos and what they show `[q]`, and the same of the photos that are searched among."""


def pair_of(seen: Seen, embedding: Floats, column: str) -> Pair:
    """A set's validation photos and the catalogue photos of their products; without the former, its test and training
    photos."""
    ids = np.array([row.get(column, "") for row in seen.rows])
    split = np.array([row.get("split", "") for row in seen.rows])
    catalogue = np.array([is_catalogue(row) for row in seen.rows])
    photos = (split == "val") & ~catalogue
    if photos.any():
        among = catalogue & np.isin(ids, ids[photos]) if column == "product" and not _few(catalogue) else catalogue
        return embedding[photos], ids[photos], embedding[among], ids[among]
    photos, among = split == "test", split == "train"
    return embedding[photos], ids[photos], embedding[among], ids[among]


def _few(catalogue: NDArray[np.bool_]) -> bool:
    return int(catalogue.sum()) < 100  # groceries have 81; the studio has pictures of its training products, too


def recalls(layer: tuple[Floats, Floats], pairs: Mapping[str, Pair]) -> list[float]:
    """R@1 of each pair by hash, by hash with the photo not rounded, and by margins in eight bits."""
    found = []
    for photos, shown, others, theirs in pairs.values():
        ours, margins = (one @ layer[0].T + layer[1] for one in (photos, others))
        for alike in (
            np.sign(ours) @ np.sign(margins).T,
            ours @ np.sign(margins).T,
            cosines(ours, in_eight_bits(margins)),
        ):
            found.append(float((theirs[alike.argmax(1)] == shown).mean()))
    return found


def main() -> int:
    """Embed what the cache lacks, compare, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page", bundle=True)
    options.add_argument("--data", type=Path, required=True, help="folder with the demo's data sets and freiburg")
    options.add_argument("--cache", type=Path, required=True, help="folder for features and drawn photos; kept")
    arguments = options.parse_args()
    bundle, graph = load_bundle(arguments.bundle), onnx.load(arguments.bundle / MODEL_FILE)
    trunk, tail = Trunk(take_applicability_away(graph, bundle.manifest), bundle.manifest), Tail(graph, bundle)
    fit, pairs = [], {}

    def embedded(seen: Seen) -> Floats:
        return tail.run(seen.feature)[bundle.manifest.embedding.output].astype(np.float32)

    for spec in load_recipe(RECIPE).datasets:
        folder, rows = rows_of(spec, arguments.data, arguments.cache)
        seen = trunk.folder(spec.name, folder, some_of(rows, CROSS), arguments.cache)
        embedding = embedded(seen)
        fit.append(embedding[[row["split"] == "train" and not is_catalogue(row) for row in seen.rows]])
        if spec.product:
            pairs[spec.name] = pair_of(seen, embedding, spec.product)
    folder = arguments.data / "freiburg"
    seen = trunk.folder("freiburg", folder, some_of(read("csv", folder).rows), arguments.cache)
    pairs["freiburg"] = pair_of(seen, embedded(seen), "label")
    chosen, known = fit_photos(fit), read_hash_layer(bundle)
    lines = []
    if known is not None:
        lines.append(["the bundle's", *(f"{one:.3f}" for one in recalls((known.weight, known.bias), pairs))])
    for axes, power in AXES_AND_POWERS:
        drawn = [recalls(rotated_axes(chosen, BITS, axes, draw, power), pairs) for draw in range(DRAWS)]
        shares = (f"{m:.3f} ± {s:.3f}" for m, s in zip(np.mean(drawn, 0), np.std(drawn, 0), strict=True))
        lines.append([f"{axes} axes ÷ spread^{power:g}", *shares])
    header = ["rotation of", *(f"{name}, {way}" for name in pairs for way in ("hash", "fine", "by margins"))]
    counts = ", ".join(f"{name} {len(one[0])} among {len(one[2])}" for name, one in pairs.items())
    body = f"R@1. Photos: {counts}. Mean and standard deviation of {DRAWS} random rotations.\n\n{table(header, lines)}"
    command = "python -m benchmarks.networks.hash_domains --data DATA --cache CACHE"
    write_page(page("Hash layers by kind of photo", command, versions("onnxruntime", "numpy"), body), arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
