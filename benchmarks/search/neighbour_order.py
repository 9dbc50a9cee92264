"""What finds more of the right products: `python -m benchmarks.search.neighbour_order --data FOLDER --work FOLDER`.

Embeddings of a finished bundle are computed once and kept in --work. Photos of groceries are then searched among the
catalogue photos of all 81 products and among distractors, photos of clothes. Compared are ways to make 256 bits, the
photo with or without rounding, and for the nearest 50 the embedding or the margins of the hash in eight bits; a
half-whitened embedding; and for the catalogue's side views (mirrored, and the centre) and the mean with the three
nearest neighbours.

A hash layer is fitted twice in each draw: to all photos, and without a fifth of the products drawn at random, which
then stand for products that the layer never saw. The network itself was trained on all of them. Photos of `freiburg`,
which neither network nor layer learnt from, are searched among other photos of it; right is the same kind of grocery.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, versions, write_page
from engines.pixels import Box
from engines.recognition import build_engine, cosines, in_eight_bits
from training.bundle.hash_layers import AXES, half_whitened_axes, half_whitened_itq, itq, rotated_axes
from training.evaluation.folder import decode_row
from training.readers import read
from training.readers.label_table import Row, is_catalogue

Floats = NDArray[np.float32]
BITS, NEAREST, EVERY = 256, 50, 5
DRAWS = 8
KINDS = 500  # photos of freiburg that are searched among
FIT = {"grocery": 800, "fashion": 800, "clothing": 400}  # training photos that a layer is fitted to
DISTRACTORS = 600
CENTRE = Box(0.1, 0.1, 0.9, 0.9)
Way = Callable[[Floats, Floats], Floats]
"""Likeness `[q, g]` of photos `[q, 400]` and catalogue photos `[g, 400]`; larger is nearer."""


@dataclass(frozen=True)
class Photos:
    """Embeddings `float32 [n, 400]`, unit rows, and what is searched for, `int64 [n]`: product or kind."""

    embedding: Floats
    product: NDArray[np.int64]


def embedded(bundle: Path, folder: Path, rows: list[Row], file: Path, view: str = "") -> Photos:
    """The photos of some rows; `view` is `mirrored` or `centre`. The embeddings are kept in `file`."""
    if not file.is_file():
        engine = build_engine(bundle)
        parts = []
        for at in range(0, len(rows), 16):
            boxed = [{**row, "box": _box(CENTRE)} if view == "centre" else row for row in rows[at : at + 16]]
            found = [decode_row(folder, row, engine.manifest.preprocess) for row in boxed]
            pixels = np.stack([photo for photo in found if not isinstance(photo, str)])
            pixels = np.ascontiguousarray(pixels[:, :, ::-1]) if view == "mirrored" else pixels
            parts.append(engine.infer(pixels).embedding)
        engine.close()
        np.save(file, np.concatenate(parts).astype(np.float32))
    ids = np.array([int(row.get("product_id") or crc32(row.get("label", "").encode())) for row in rows], np.int64)
    return Photos(np.load(file), ids)


def _box(box: Box) -> str:
    return f"{box.left} {box.top} {box.right} {box.bottom}"


def found_first(way: Way, photos: Photos, catalogue: Photos) -> NDArray[np.bool_]:
    """Whether the nearest catalogue photo is of the photo's product, `bool [q]`."""
    hits: NDArray[np.bool_] = catalogue.product[way(photos.embedding, catalogue.embedding).argmax(1)] == photos.product
    return hits


def by_bits(layer: tuple[Floats, Floats], *, rounded: bool) -> Way:
    """By a hash layer; the photo is rounded to bits as well, or not."""

    def way(q: Floats, g: Floats) -> Floats:
        ours, theirs = q @ layer[0].T + layer[1], np.sign(g @ layer[0].T + layer[1])
        alike: Floats = (np.sign(ours) if rounded else ours) @ theirs.T
        return alike

    return way


def rescored(first: Way, layer: tuple[Floats, Floats] | None = None) -> Way:
    """The `NEAREST` of `first` in the order of cosines: of the margins of a layer, or of the embeddings. The catalogue
    keeps them in eight bits."""

    def numbers(embedding: Floats) -> Floats:
        made: Floats = embedding if layer is None else embedding @ layer[0].T + layer[1]
        return made

    def way(q: Floats, g: Floats) -> Floats:
        likeness = first(q, g)
        near = np.argsort(-likeness, axis=1, kind="stable")[:, :NEAREST]
        exact = np.full_like(likeness, -np.inf)
        alike = cosines(numbers(q), in_eight_bits(numbers(g)))
        np.put_along_axis(exact, near, np.take_along_axis(alike, near, 1), 1)
        return exact

    return way


def half_whitened(axes: NDArray[np.float64], mean: NDArray[np.float64]) -> Way:
    """By cosines of half-whitened embeddings."""

    def way(q: Floats, g: Floats) -> Floats:
        ours, theirs = ((one - mean) @ axes for one in (q, g))
        ours /= np.linalg.norm(ours, axis=1, keepdims=True)
        theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
        alike: Floats = (ours @ theirs.T).astype(np.float32)
        return alike

    return way


def by_embedding(q: Floats, g: Floats) -> Floats:
    """By the embedding itself."""
    alike: Floats = q @ g.T
    return alike


def unit(rows: Floats) -> Floats:
    """Rows of length 1."""
    scaled: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def with_neighbours(photos: Photos, others: Floats) -> Photos:
    """Each embedding's mean with its three nearest of `others`."""
    near = np.argsort(-(photos.embedding @ others.T), axis=1)[:, :3]
    return Photos(unit(photos.embedding + others[near].mean(1)), photos.product)


def ways_of(fit: Floats, draw: int) -> dict[str, Way]:
    """All ways that need only a fit. `draw` is the seed of what is drawn at random."""
    found: dict[str, Way] = {"embedding": by_embedding}
    for name, layer in (
        ("rotation", rotated_axes(fit, BITS, AXES, draw)),
        ("half-whitened rotation", rotated_axes(fit, BITS, AXES, draw, power=0.5)),
        ("ITQ", itq(fit, BITS, seed=draw)),
        ("half-whitened ITQ", half_whitened_itq(fit, BITS, seed=draw)),
    ):
        found[f"hash, {name}"] = by_bits(layer, rounded=True)
        found[f"fine, {name}"] = by_bits(layer, rounded=False)
        found[f"nearest {NEAREST} by the embedding, {name}"] = rescored(found[f"hash, {name}"])
        found[f"nearest {NEAREST} by margins, {name}"] = rescored(found[f"hash, {name}"], layer)
    found["half-whitened embedding"] = half_whitened(*half_whitened_axes(fit, BITS))
    return found


def main() -> int:
    """Embed what is missing, compare, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page", bundle=True)
    options.add_argument("--data", type=Path, required=True, help="folder with grocery, fashion and clothing")
    options.add_argument("--work", type=Path, required=True, help="folder for embeddings; kept")
    options.add_argument("--split", choices=("val", "test"), default="val", help="photos to search by (default val)")
    arguments = options.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)

    def photos(name: str, what: str, chosen: Callable[[Row], bool], most: int = 0, view: str = "") -> Photos:
        folder = arguments.data / name
        rows = [row for row in read("csv", folder).rows if chosen(row)]
        if most:
            rows = [rows[i] for i in np.sort(np.random.default_rng(0).permutation(len(rows))[:most])]
        return embedded(arguments.bundle, folder, rows, arguments.work / f"{name}-{what}{view}.npy", view)

    train = {n: photos(n, "train", lambda r: r["split"] == "train" and not is_catalogue(r), k) for n, k in FIT.items()}
    queries = photos("grocery", arguments.split, lambda r: r["split"] == arguments.split and not is_catalogue(r))
    gallery = photos("grocery", "catalogue", is_catalogue)
    views = [photos("grocery", "catalogue", is_catalogue, view=view) for view in ("mirrored", "centre")]
    strange = photos("freiburg", "test", lambda r: r["split"] == "test")
    stranger = photos("freiburg", "train", lambda r: r["split"] == "train", KINDS)
    other = photos("clothing", "distractors", lambda r: r["split"] == "test", DISTRACTORS)
    catalogue = Photos(
        np.concatenate([gallery.embedding, other.embedding]),
        np.concatenate([gallery.product, np.full(len(other.product), -1)]),
    )
    grocery = train["grocery"]
    rest = [train[n].embedding for n in FIT if n != "grocery"]
    every = np.concatenate([grocery.embedding, *rest])
    known: dict[str, list[float]] = {}
    new: dict[str, list[float]] = {}
    kinds: dict[str, list[float]] = {}
    products = np.unique(gallery.product)
    for draw in range(DRAWS):
        out = np.random.default_rng(draw).permutation(products)[: len(products) // EVERY]
        kept, asked = ~np.isin(grocery.product, out), np.isin(queries.product, out)
        for name, way in ways_of(every, draw).items():
            known.setdefault(name, []).append(float(found_first(way, queries, catalogue).mean()))
            kinds.setdefault(name, []).append(float(found_first(way, strange, stranger).mean()))
        for name, way in ways_of(np.concatenate([grocery.embedding[kept], *rest]), draw).items():
            new.setdefault(name, []).append(float(found_first(way, queries, catalogue)[asked].mean()))
    lines = [
        [name, *(f"{np.mean(one):.3f} ± {np.std(one):.3f}" for one in (known[name], new[name], kinds[name]))]
        for name in known
    ]
    layer = rotated_axes(every, BITS, AXES, power=0.5)
    mean = unit(np.mean([gallery.embedding, *(view.embedding for view in views)], axis=0))
    changed = {
        "mean of three views of the catalogue": Photos(mean, gallery.product),
        "catalogue with its three nearest photos": with_neighbours(gallery, rng.permutation(grocery.embedding)),
    }
    for name, one in changed.items():
        whole = Photos(np.concatenate([one.embedding, other.embedding]), catalogue.product)
        hashed = by_bits(layer, rounded=True)
        for way, how in ((hashed, "hash"), (rescored(hashed, layer), "margins"), (by_embedding, "embedding")):
            hits = found_first(way, queries, whole)
            lines.append([f"{how}, half-whitened rotation; {name}", f"{hits.mean():.3f}", "–", "–"])
    body = (
        f"R@1 of {len(queries.product)} {arguments.split} photos among {len(gallery.product)} catalogue photos and "
        f"{len(other.product)} photos of clothes, and of {len(strange.product)} photos of freiburg among "
        f"{len(stranger.product)} others. A draw leaves a fifth of the products out of the fit. Mean and standard "
        f"deviation of {DRAWS} draws of products and rotations. The network was trained on all products.\n\n"
        + table(("by", "all products", "products left out of the fit", "freiburg, same kind"), lines)
    )
    command = f"python -m benchmarks.search.neighbour_order --data DATA --work WORK --split {arguments.split}"
    write_page(page("Order of neighbours", command, versions("onnxruntime", "numpy"), body), arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
