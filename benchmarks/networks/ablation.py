"""What each of GrokNet's losses adds, GeM against the average, and ways to make the hash:
`python -m benchmarks.networks.ablation --data FOLDER --work FOLDER`.

`training/recipes/ablation.toml` has all losses. The other rows leave some out, with the same steps and photos. Every
row is the mean over seeds. Groceries are measured on test photos that were not trained on, the studio on products that
were not trained on. `--work` keeps the runs, so no row is trained twice.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, training_options, versions, write_page
from benchmarks.trials import (
    Floats,
    Seen,
    coded,
    column,
    device_name,
    device_of,
    found_first,
    head_hits,
    look,
    numbers_of,
    trained,
)
from training.bundle.hash_layers import AXES, itq, pack, rotated_axes
from training.bundle.spreading_layer import fit_spreading_layer
from training.data.corpus import Corpus
from training.network.model import BITS, Network
from training.recipe import Recipe, load_recipe

RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "ablation.toml"
FIT = 4000  # training photos that a hash layer is fitted to
LOSSES = ("product.arcface", "query.arcface", "product.pairs")


def rows(whole: Recipe) -> dict[str, Recipe]:
    """Row → recipe. Losses are added one by one. The last row has all of them, and averages instead of GeM."""
    softmax = [head for head in whole.heads if head.kind == "softmax"]
    made = {"softmax": msgspec.structs.replace(whole, heads=softmax, losses=[])}
    made["+ multi-label softmax"] = msgspec.structs.replace(whole, losses=[])
    for count, name in enumerate(("ArcFace", "multi-label ArcFace", "pairwise double margin"), 1):
        chosen = [loss for loss in whole.losses if loss.id in LOSSES[:count]]
        made[f"+ {name}"] = msgspec.structs.replace(whole, losses=chosen)
    made["the whole, average pooling"] = msgspec.structs.replace(whole, pooling="average")
    return made


def main() -> int:
    """Train the rows, measure them and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page")
    training_options(options, steps=300, seeds=3)
    arguments = options.parse_args()
    device = device_of(arguments.device)
    whole = load_recipe(RECIPE)
    plan = msgspec.structs.replace(whole.schedule, steps=arguments.steps)
    lines, hashes = [], []
    for name, recipe in rows(msgspec.structs.replace(whole, schedule=plan)).items():
        found: list[dict[str, float]] = []
        codes: list[dict[str, float]] = []
        for seed in range(arguments.seeds):
            run = msgspec.structs.replace(recipe, seed=seed + 1)
            network, corpus = trained(run, arguments.data, arguments.work, f"{_slug(name)}-{seed}", device)
            found.append(_figures(network, corpus, recipe.size))
            if recipe.losses and recipe.pooling == "gem" and len(recipe.losses) == len(whole.losses):
                codes.append(_hashes(network, corpus, recipe.size))
        lines.append([name, *_means(found)])
        hashes += [[name, *_means([{"recall": code[name]} for code in codes])] for name in (codes[0] if codes else {})]
    photos = sum(d.share + d.catalogue for d in whole.datasets)
    body = "\n".join(
        [
            f"{arguments.steps} steps of {photos} photos at {whole.size} pixels, {_seeds(arguments.seeds)}; in "
            "per cent. R@1: the photo's nearest catalogue photo shows its product, by the trunk's feature and by the "
            "embedding. Without a loss of its own the embedding stays at the principal axes where it starts.",
            "",
            table(("losses", *_columns(_FIGURES, arguments.seeds)), lines),
            "",
            "## Ways to make the hash",
            "",
            "The embedding of the row with all losses (GeM) as 256 bits; R@1 of grocery test photos.",
            "",
            table(("code", *_columns(("R@1",), arguments.seeds)), hashes),
        ]
    )
    command = (
        "python -m benchmarks.networks.ablation --data DATA --work WORK "
        f"--steps {arguments.steps} --seeds {arguments.seeds}"
    )
    text = page("What each loss adds", command, versions("torch", "numpy"), body, device_name(device))
    write_page(text, arguments.out)
    return 0


_FIGURES = (
    "product top-1",
    "coarse top-1",
    "R@1 feature",
    "R@1 embedding",
    "unseen studio R@1 embedding",
    "GeM p",
)


def _seeds(count: int) -> str:
    if count == 1:
        return "one seed, so differences of a point or two are chance"
    return f"means of {count} seeds; *±* is the standard deviation over them of the column before it"


def _columns(names: Sequence[str], seeds: int) -> list[str]:
    """The names of the columns that `_means` fills."""
    return [column for name in names for column in ((name, "±") if seeds > 1 else (name,))]


def _figures(network: Network, corpus: Corpus, size: int) -> dict[str, float]:
    seen = look(network, corpus, numbers_of(corpus, "grocery", "test"), size)
    heads = head_hits(seen, corpus)
    grocery = _recall(network, corpus, size, "grocery", seen)
    studio = _recall(network, corpus, size, "studio")
    return {
        "product": 100 * float(heads["grocery.product"].mean()),
        "coarse": 100 * float(heads["grocery.coarse"].mean()),
        "feature": grocery["feature"],
        "embedding": grocery["embedding"],
        "studio": studio["embedding"],
        "p": float(network.pool.p.detach()),
    }


def _recall(network: Network, corpus: Corpus, size: int, name: str, photos: Seen | None = None) -> dict[str, float]:
    """Code → R@1 in per cent. The gallery is all catalogue photos, of products that were trained on or are tested."""
    photos = photos or look(network, corpus, numbers_of(corpus, name, "test"), size)
    shown = [numbers_of(corpus, name, split, True) for split in ("train", "test")]
    gallery = look(network, corpus, np.concatenate(shown), size)
    ids = column(corpus, photos.numbers, "product"), column(corpus, gallery.numbers, "product")
    return {code: 100 * float(hits.mean()) for code, hits in found_first(photos, gallery, *ids).items()}


def _hashes(network: Network, corpus: Corpus, size: int) -> dict[str, float]:
    """R@1 of groceries in per cent, by the float embedding and by ways to make 256 bits of it."""
    fitted = np.random.default_rng(0).permutation(corpus.learnt)[:FIT]
    fit = look(network, corpus, fitted, size).embedding
    photos = look(network, corpus, numbers_of(corpus, "grocery", "test"), size)
    gallery = look(network, corpus, numbers_of(corpus, "grocery", "train", True), size)
    ids = column(corpus, photos.numbers, "product"), column(corpus, gallery.numbers, "product")
    found = {"float, 400-d": found_first(photos, gallery, *ids)["embedding"]}
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((fit.shape[1], BITS)))[0].T.astype(np.float32)
    frame, shift = rotated_axes(fit, BITS, AXES)
    weight, bias = itq(fit, BITS)
    layer = fit_spreading_layer(fit, BITS)
    ways: dict[str, Callable[[Floats], NDArray[np.uint8]]] = {
        "signs of a random projection": lambda x: pack(x @ turn.T),
        f"rotation of {AXES} leading axes": lambda x: pack(x @ frame.T + shift),
        "ITQ": lambda x: pack(x @ weight.T + bias),
        "spreading layer (GrokNet's catalyzer)": lambda x: coded(layer, x),
    }
    for name, way in ways.items():
        mine, theirs = (replace(one, code=way(one.embedding)) for one in (photos, gallery))
        found[name] = found_first(mine, theirs, *ids)["hash"]
    return {name: 100 * float(hits.mean()) for name, hits in found.items()}


def _means(found: list[dict[str, float]]) -> list[str]:
    cells: list[str] = []
    for key in found[0]:
        values = np.array([one[key] for one in found])
        cells += [f"{values.mean():.2f}" if key == "p" else f"{values.mean():.1f}"]
        cells += [f"{values.std(ddof=0):.1f}"] if len(found) > 1 else []
    return cells


def _slug(name: str) -> str:
    return "ablation-" + "".join(c if c.isalnum() else "-" for c in name).strip("-")


if __name__ == "__main__":
    sys.exit(main())
