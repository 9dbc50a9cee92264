"""A search within the predicted category, and a model for one category:
`python -m benchmarks.networks.category_routing --data FOLDER --work FOLDER`.

Queries and gallery are those of `benchmarks.networks.verifier`, whose `--work` this one shares. A category is a coarse
class of groceries, a category of the studio, or a type of clothes. The sellers' categories file the listings. A query
is searched among all listings, or among those of its most probable categories. Validation photos choose a route;
`--test` measures that one and the one index on the test photos. Then a linear embedding is trained on features of the
trunk, which stay as they are, from the photos of one category, and from those of all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks.networks.shop_photos import SETS, Photos, looked
from benchmarks.report import page, parser, table, versions, write_page
from benchmarks.trials import paired_interval, refitted_embedding, unit
from engines.recognition import load_bundle
from schemas.manifest import MODEL_FILE, Manifest
from training.bundle.applying.features import Tail

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
HEADS = {
    "grocery": ("grocery.coarse", "coarse"),
    "studio": ("studio.category", "category"),
    "fashion": ("fashion.article-type", "articleType"),
    "clothing": ("clothing.type", "label"),
}
"""Set → its head of categories, and their column."""
MOST = (1, 2, 3, 5)
SURE = (0.5, 0.7, 0.9, 0.97)
MILLION = 1_000_000
PARTS = ("all groceries", "Fruit", "Vegetables", "Packages", "studio")


@dataclass(frozen=True)
class Route:
    """Which part of the gallery a query is searched in.

    Attributes:
        name: of the route.
        inside: `bool [q, g]`, the listings that are searched.
    """

    name: str
    inside: Bools


def filed(photos: Photos, manifest: Manifest) -> tuple[list[str], NDArray[np.int64]]:
    """All categories, `SET/CATEGORY`, and the number of each photo's own, −1 for one that no head knows."""
    heads = {head.id: head for head in manifest.heads}
    names = [f"{name}/{label.value}" for name, (head, _) in HEADS.items() for label in heads[head].labels]
    number = {name: i for i, name in enumerate(names)}
    own = []
    for row, product in zip(photos.seen.rows, photos.product, strict=True):
        name = str(product).partition("/")[0]
        own.append(number.get(f"{name}/{row[HEADS[name][1]]}", -1))
    return names, np.array(own, np.int64)


def said(photos: Photos, tail: Tail, manifest: Manifest) -> Floats:
    """How probable each category is for each photo, `[n, categories]`: a head's answer times whether it applies."""
    raw = tail.run(photos.seen.feature)
    outputs = {head.id: head.output for head in manifest.heads}
    return np.concatenate([raw[outputs[head]].astype(np.float32) for head, _ in HEADS.values()], 1)


def routes(probable: Floats, own: NDArray[np.int64], names: Sequence[str]) -> list[Route]:
    """All routes of q queries, from `probable [q, categories]` and the listings' categories `own [g]`."""
    order = np.argsort(-probable, axis=1, kind="stable")
    q = len(probable)
    made = [Route("one index", np.ones((q, len(own)), np.bool_))]
    for most in MOST:
        inside = np.zeros((q, len(names) + 1), np.bool_)
        np.put_along_axis(inside, order[:, :most], True, axis=1)
        made.append(Route(f"the {most} likeliest" if most > 1 else "the likeliest category", inside[:, own]))
    sure = np.take_along_axis(probable, order[:, :1], 1) / np.maximum(probable.sum(1, keepdims=True), 1e-9)
    for least in SURE:
        made.append(Route(f"the likeliest, if p ≥ {least:g}", made[1].inside | (sure < least)))
    sets = np.array([name.partition("/")[0] for name in names] + [""])
    best = sets[order[:, 0]]
    made.append(Route("the likeliest of four sets", best[:, None] == sets[own][None]))
    return made


def hits_of(queries: Photos, gallery: Photos, inside: Bools) -> Bools:
    """`bool [q, 5]`: whether the right product is the n-th of the listings that are searched."""
    alike = np.where(inside, queries.embedding @ gallery.embedding.T, -2.0)
    near = np.argsort(-alike, axis=1, kind="stable")[:, :5]
    right: Bools = gallery.product[near] == queries.product[:, None]
    return right & np.take_along_axis(inside, near, 1)


def line(route: Route, queries: Photos, gallery: Photos) -> list[str]:
    """R@1, R@5, the share of queries whose product is not searched, and the mean share of the gallery that is."""
    hits = hits_of(queries, gallery, route.inside)
    right = gallery.product[None] == queries.product[:, None]
    lost = ~(right & route.inside).any(1)
    shares = hits[:, 0].mean(), hits.any(1).mean(), lost.mean(), route.inside.mean()
    return [f"{100 * float(share):.1f}" for share in shares]


@cache
def milliseconds(share: float) -> float:
    """Median processor time of one exact search by hash among this share of a million listings, one thread."""
    import faiss

    faiss.omp_set_num_threads(1)
    draw = np.random.default_rng(0)
    index = faiss.IndexBinaryFlat(256)
    index.add(draw.integers(0, 256, (max(1, int(share * MILLION)), 32), np.uint8))
    asked = draw.integers(0, 256, (20, 32), np.uint8)
    index.search(asked[:1], 50)
    spent = []
    for one in asked:
        begun = time.process_time()
        index.search(one[None], 50)
        spent.append(time.process_time() - begun)
    return float(np.median(spent)) * 1000


def embedding_layer(folder: Path) -> tuple[Floats, Floats]:
    """Weight `[400, f]` and bias `[400]` of a bundle's embedding."""
    graph = onnx.load(folder / MODEL_FILE).graph
    layer = next(node for node in graph.node if node.op_type == "Gemm" and "/embed/" in node.name)
    values = {one.name.removesuffix(".half"): numpy_helper.to_array(one) for one in graph.initializer}
    weight, bias = (values[name].astype(np.float32) for name in layer.input[1:])
    return weight, bias


def of_part(photos: Photos, part: str) -> NDArray[np.int64]:
    """The places of the photos of one of `PARTS`."""
    if part in SETS:
        return np.flatnonzero(np.char.startswith(photos.product, f"{part}/"))
    rows = photos.seen.rows
    everything = part == "all groceries"
    return np.array(
        [i for i, row in enumerate(rows) if "department" in row and (everything or row["department"] == part)], np.int64
    )


def own_models(photos: Mapping[str, Photos], start: tuple[Floats, Floats], splits: Sequence[str]) -> list[list[str]]:
    """For each part: R@1 of its photos among its own catalogue photos by the bundle's embedding, by one that learnt on
    from the training photos of all parts, and by one that learnt on from its own."""
    gallery = photos["catalogue"]
    learnt = {part: [photos[f"{name} train"].taken(of_part(photos[f"{name} train"], part)) for name in SETS]
              for part in PARTS}  # fmt: skip
    both = _refitted([photos[f"{name} train"] for name in SETS], gallery, start)
    lines = []
    for part in PARTS:
        alone = _refitted([one for one in learnt[part] if len(one.product)], gallery, start)
        for split in splits:
            name = "studio" if part == "studio" else "grocery"
            queries = photos[f"{name} {split}"]
            queries, shown = queries.taken(of_part(queries, part)), gallery.taken(of_part(gallery, part))
            first = [_first(layer, queries, shown) for layer in (start, both, alone)]
            gap, low, high = paired_interval(first[2], first[1])
            cells = [f"{100 * one.mean():.1f}" for one in first]
            lines.append([part, split, str(len(queries.product)), *cells, f"{gap:+.1f} ({low:+.1f} … {high:+.1f})"])
    return lines


def _refitted(parts: Sequence[Photos], gallery: Photos, start: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """An embedding that learnt on from these training photos and the catalogue photos of their products."""
    products = np.unique(np.concatenate([one.product for one in parts]))
    shown = gallery.taken(np.flatnonzero(np.isin(gallery.product, products)))
    every = [*parts, shown]
    feature = np.concatenate([one.seen.feature for one in every])
    numbers = np.searchsorted(products, np.concatenate([one.product for one in every])).astype(np.int64)
    return refitted_embedding(feature, numbers, start)


def _first(layer: tuple[Floats, Floats], queries: Photos, shown: Photos) -> Bools:
    """`bool [q]`: whether the nearest of `shown` by this embedding is right."""
    ours, theirs = (unit(one.seen.feature @ layer[0].T + layer[1]) for one in (queries, shown))
    right: Bools = shown.product[(ours @ theirs.T).argmax(1)] == queries.product
    return right


def main() -> int:
    """Look at what the cache lacks, measure, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page", bundle=True)
    options.add_argument("--data", type=Path, required=True, help="folder with grocery, fashion and clothing")
    options.add_argument("--work", type=Path, required=True, help="folder for drawn photos and features; kept")
    options.add_argument("--test", action="store_true", help="measure the chosen route on the test photos, too")
    given = options.parse_args()
    photos, _, tail = looked(given.data, given.work, given.bundle)
    manifest, gallery = load_bundle(given.bundle).manifest, photos["catalogue"]
    names, own = filed(gallery, manifest)
    found: dict[str, dict[str, list[str]]] = {}
    gaps: dict[str, str] = {}
    for part in [f"{name} {split}" for split in ("val", *(["test"] if given.test else [])) for name in SETS]:
        ways = routes(said(photos[part], tail, manifest), own, names)
        found[part] = {way.name: line(way, photos[part], gallery) for way in ways}
        first = {way.name: hits_of(photos[part], gallery, way.inside)[:, 0] for way in ways}
        for way, hits in first.items():
            gap, low, high = paired_interval(hits, first[ways[0].name])
            gaps[f"{part} {way}"] = f"{gap:+.1f} ({low:+.1f} … {high:+.1f})"
    whole = milliseconds(1.0)
    lines = []
    for name in found["grocery val"]:
        cells = [cell for part in SETS for cell in found[f"{part} val"][name]]
        share = float(np.mean([float(found[f"{part} val"][name][3]) for part in SETS])) / 100
        lines.append([name, *cells, f"{milliseconds(share) / whole:.3f}"])
    best = max(found["grocery val"], key=lambda name: sum(float(found[f"{part} val"][name][0]) for part in SETS))
    tested = ""
    if given.test:
        rows = [[name, *(cell for part in SETS for cell in found[f"{part} test"][name])]
                for name in dict.fromkeys(("one index", "the likeliest category", best))]  # fmt: skip
        compared = ", ".join(f"{part} {gaps[f'{part} test {best}']}" for part in SETS)
        tested = f"Test photos:\n\n{table(_HEAD[:-1], rows)}\n\nR@1 of the best − one index, points: {compared}.\n\n"
    models = own_models(photos, embedding_layer(given.bundle), ("val", *(["test"] if given.test else [])))
    filled = len(np.unique(own[own >= 0]))
    counts = ", ".join(f"{part} {len(one.product)}" for part, one in photos.items() if part != "catalogue")
    body = (
        f"Photos: {counts}; gallery {len(gallery.product)} in {filled} categories. In per cent, but for "
        "the last column: the time of a search by hash among as large a share of a million listings, over that among "
        f"all ({whole:.1f} ms of processor time).\n\nValidation photos, which choose:\n\n{table(_HEAD, lines)}\n\n"
        f"Best on validation photos: {best}.\n\n{tested}An embedding of its own, R@1 among the "
        "category's catalogue photos:\n\n" + table(_MODELS, models)
    )
    command = "python -m benchmarks.networks.category_routing --data DATA --work WORK" + (
        " --test" if given.test else ""
    )
    packages = versions("onnxruntime", "faiss-cpu", "torch", "numpy")
    write_page(page("Search within a category", command, packages, body), given.out)
    return 0


_HEAD = ("searched", *(f"{n} {f}" for n in SETS for f in ("R@1", "R@5", "routed away", "of the gallery")), "time")
_MODELS = (
    "category",
    "photos",
    "of them",
    "the bundle's",
    "refitted to all",
    "refitted to its own",
    "own − all, points",
)


if __name__ == "__main__":
    sys.exit(main())
