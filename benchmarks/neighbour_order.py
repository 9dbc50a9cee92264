"""What finds more of the right products: `python -m benchmarks.neighbour_order --data FOLDER --work FOLDER`.

Embeddings of a finished bundle are computed once and kept in --work. Photos of groceries are then searched among the
catalogue photos of all 81 products and among distractors, photos of clothes. Compared are ways to make 256 bits, the
photo with or without rounding, the embedding in eight bits for the nearest 50, a half-whitened embedding, and for the
catalogue's side views (mirrored, and the centre) and the mean with the three nearest neighbours.

A hash layer is fitted twice: to all photos, and without every fifth product, which then stands for products that the
layer never saw. The network itself was trained on all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, versions, write_page
from engines.pixels import Box
from engines.recognition import build_engine
from training.bundle.hash_layers import AXES, half_whitened_axes, half_whitened_itq, itq, rotated_axes
from training.evaluation.folder import decode_row
from training.readers import read
from training.readers.label_table import Row, is_catalogue

Floats = NDArray[np.float32]
BITS, NEAREST, EVERY = 256, 50, 5
FIT = {"grocery": 800, "fashion": 800, "clothing": 400}  # training photos that a layer is fitted to
DISTRACTORS = 600
CENTRE = Box(0.1, 0.1, 0.9, 0.9)
Way = Callable[[Floats, Floats], Floats]
"""Likeness `[q, g]` of photos `[q, 400]` and catalogue photos `[g, 400]`; larger is nearer."""


@dataclass(frozen=True)
class Photos:
    """Embeddings `float32 [n, 400]`, unit rows, and product ids `int64 [n]`, −1 for none."""

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
    ids = np.array([int(row.get("product_id") or -1) for row in rows], np.int64)
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


def rescored(first: Way, *, eight_bits: bool) -> Way:
    """The `NEAREST` of `first` in the order of the cosines; the catalogue's embedding is perhaps kept in eight bits."""

    def way(q: Floats, g: Floats) -> Floats:
        kept = in_eight_bits(g) if eight_bits else g
        likeness = first(q, g)
        near = np.argsort(-likeness, axis=1, kind="stable")[:, :NEAREST]
        exact = np.full_like(likeness, -np.inf)
        np.put_along_axis(exact, near, np.take_along_axis(q @ kept.T, near, 1), 1)
        return exact

    return way


def in_eight_bits(embedding: Floats) -> Floats:
    """What is left of embeddings `[n, d]` that are kept as one signed byte for each value and one factor a photo."""
    factor = np.abs(embedding).max(1, keepdims=True) / 127
    kept: Floats = (np.round(embedding / factor) * factor).astype(np.float32)
    return kept


def half_whitened(axes: NDArray[np.float64], mean: NDArray[np.float64]) -> Way:
    """By cosines of half-whitened embeddings."""

    def way(q: Floats, g: Floats) -> Floats:
        ours, theirs = ((one - mean) @ axes for one in (q, g))
        ours /= np.linalg.norm(ours, axis=1, keepdims=True)
        theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
        alike: Floats = (ours @ theirs.T).astype(np.float32)
        return alike

    return way


def cosines(q: Floats, g: Floats) -> Floats:
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
    found: dict[str, Way] = {"embedding": cosines}
    for name, layer in (
        ("rotation (today)", rotated_axes(fit, BITS, AXES, draw)),
        ("half-whitened rotation", rotated_axes(fit, BITS, AXES, draw, power=0.5)),
        ("ITQ", itq(fit, BITS, seed=draw)),
        ("half-whitened ITQ", half_whitened_itq(fit, BITS, seed=draw)),
    ):
        found[f"hash, {name}"] = by_bits(layer, rounded=True)
        found[f"fine, {name}"] = by_bits(layer, rounded=False)
        found[f"nearest {NEAREST} by hash, {name}, then 8 bits"] = rescored(found[f"hash, {name}"], eight_bits=True)
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
    other = photos("clothing", "distractors", lambda r: r["split"] == "test", DISTRACTORS)
    catalogue = Photos(
        np.concatenate([gallery.embedding, other.embedding]),
        np.concatenate([gallery.product, np.full(len(other.product), -1)]),
    )
    grocery = train["grocery"]
    rest = [train[n].embedding for n in FIT if n != "grocery"]
    every = np.concatenate([grocery.embedding, *rest])
    known: dict[str, list[float]] = {}
    new: dict[str, list[NDArray[np.bool_]]] = {}
    for draw in range(EVERY):  # each fifth of the products is left out once, with another draw of what is random
        kept, asked = grocery.product % EVERY != draw, queries.product % EVERY == draw
        for name, way in ways_of(every, draw).items():
            known.setdefault(name, []).append(float(found_first(way, queries, catalogue).mean()))
        for name, way in ways_of(np.concatenate([grocery.embedding[kept], *rest]), draw).items():
            new.setdefault(name, []).append(found_first(way, queries, catalogue)[asked])
    lines = [[n, f"{np.mean(known[n]):.3f}", f"{np.concatenate(new[n]).mean():.3f}"] for n in known]
    layer = rotated_axes(every, BITS, AXES)
    mean = unit(np.mean([gallery.embedding, *(view.embedding for view in views)], axis=0))
    changed = {
        "mean of three views of the catalogue": Photos(mean, gallery.product),
        "catalogue with its three nearest photos": with_neighbours(gallery, rng.permutation(grocery.embedding)),
    }
    for name, one in changed.items():
        whole = Photos(np.concatenate([one.embedding, other.embedding]), catalogue.product)
        for way, how in ((by_bits(layer, rounded=True), "hash, rotation"), (cosines, "embedding")):
            hits = found_first(way, queries, whole)
            lines.append([f"{how}; {name}", f"{hits.mean():.3f}", "–"])
    body = (
        f"R@1 of {len(queries.product)} {arguments.split} photos among {len(gallery.product)} catalogue photos and "
        f"{len(other.product)} photos of clothes. In the last column each fifth of the products is left out of the fit "
        f"once; hashes are the mean of {EVERY} draws. The network was trained on all products.\n\n"
        + table(("by", "all products", "products left out of the fit"), lines)
    )
    command = f"python -m benchmarks.neighbour_order --data DATA --work WORK --split {arguments.split}"
    write_page(page("Order of neighbours", command, versions("onnxruntime", "numpy"), body), arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
