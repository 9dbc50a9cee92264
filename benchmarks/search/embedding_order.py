"""How the nearest should be compared: `python -m benchmarks.search.embedding_order --data FOLDER --work FOLDER`.

Validation photos are searched by the bundle's hash, with the photo not rounded, by margins and by embeddings, the
catalogue's in eight bits; and by embeddings whose principal axes are divided by a power of their spread, fitted to
training photos. The studio's products and `freiburg` are unknown to the network; in freiburg the same kind of grocery
is right. Embeddings are kept in --work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, versions, write_page
from benchmarks.search.unseen_order import Pair, by_axes, compared
from engines.recognition import RecognitionEngine, build_engine, cosines, in_eight_bits, load_bundle
from engines.recognition.outputs.hash_layer import HashLayer, read_hash_layer
from training.bundle.hash_layers import Floats, half_whitened_axes
from training.data.photos import render_one
from training.evaluation.folder import decode_row
from training.readers import read
from training.readers.label_table import Row, is_catalogue
from training.studio import TRAIN_IDENTITIES

HELD_OUT, PICTURES = 150, 450  # studio products whose photos are searched by, and that are searched among
IN_STORE, KINDS = 1400, 600
FIT, FIT_STUDIO = {"grocery": 600, "fashion": 600, "clothing": 600}, 400  # training photos
_NONE = np.empty(0, np.str_)
AXES_AND_POWERS = (
    *((400, power) for power in (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.5, 0.7)),
    *((axes, power) for axes in (128, 256) for power in (0.0, 0.25, 0.5)),
)


@dataclass(frozen=True)
class Photos:
    """Embeddings `float32 [n, 400]` and what the photos show `[n]`."""

    embedding: Floats
    shown: NDArray[np.str_]


def kept(file: Path, engine: RecognitionEngine, made: Callable[[], Iterator[tuple[NDArray[np.uint8], str]]]) -> Photos:
    """What `file` keeps, or photos that are made and embedded now."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels, shown = zip(*made(), strict=True)
        parts = [engine.infer(np.stack(pixels[at : at + 16])).embedding for at in range(0, len(pixels), 16)]
        np.savez(file, e=np.concatenate(parts), ids=np.array(shown))
    stored = np.load(file)
    return Photos(stored["e"].astype(np.float32), stored["ids"])


def of_folder(
    engine: RecognitionEngine, folder: Path, chosen: Callable[[Row], bool], most: int
) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """The photos of some rows, at most so many, and their product or label."""
    rows = [row for row in read("csv", folder).rows if chosen(row)]
    for i in np.sort(np.random.default_rng(0).permutation(len(rows))[: most or None]):
        pixels = decode_row(folder, rows[i], engine.manifest.preprocess)
        if not isinstance(pixels, str):
            yield pixels, rows[i].get("product") or rows[i]["label"]


def of_studio(
    engine: RecognitionEngine, identities: Sequence[int], views: int
) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Views of studio products; 0: their catalogue pictures."""
    domain, side = "natural" if views else "iconic", engine.manifest.preprocess.width
    for identity in identities:
        for view in range(max(1, views)):
            yield render_one(((identity, view, domain, "val"), side))[0], str(identity)


def pairs_of(engine: RecognitionEngine, data: Path, work: Path) -> dict[str, tuple[Photos, Photos]]:
    """Photos to search by and photos that are searched among."""

    def folder(name: str, what: str, chosen: Callable[[Row], bool], most: int = 0) -> Photos:
        return kept(work / f"{name}-{what}.npz", engine, lambda: of_folder(engine, data / name, chosen, most))

    def split(wanted: str) -> Callable[[Row], bool]:
        return lambda row: row["split"] == wanted and not is_catalogue(row)

    asked = folder("grocery", "val", split("val"))
    studio = kept(work / "studio-val.npz", engine, lambda: of_studio(engine, TRAIN_IDENTITIES[-HELD_OUT:], 3))
    return {
        "groceries, catalogue": (asked, folder("grocery", "cat", is_catalogue)),
        "groceries, in-store": (asked, folder("grocery", "train", split("train"), IN_STORE)),
        "studio": (
            studio,
            kept(work / "studio-cat.npz", engine, lambda: of_studio(engine, TRAIN_IDENTITIES[-PICTURES:], 0)),
        ),
        "freiburg": (folder("freiburg", "test", split("test")), folder("freiburg", "train", split("train"), KINDS)),
    }


def ways(layer: HashLayer, fit: Floats) -> Iterator[tuple[str, Callable[[Floats, Floats], Floats]]]:
    """Names, and likenesses `[q, g]` of embeddings `[q, 400]` and `[g, 400]`."""

    def bits(rows: Floats) -> Floats:
        return np.sign(layer.margins(rows))

    yield "hash", lambda q, g: bits(q) @ bits(g).T
    yield "fine", lambda q, g: layer.margins(q) @ bits(g).T
    yield "margins", lambda q, g: cosines(layer.margins(q), in_eight_bits(layer.margins(g)))
    yield "embedding, not rounded", lambda q, g: q @ g.T
    yield "embedding in eight bits (the service's)", lambda q, g: cosines(q, in_eight_bits(g))
    for count, power in AXES_AND_POWERS:
        yield f"{count} axes ÷ spread^{power:g}", partial(_by_axes, axes=half_whitened_axes(fit, count, power))


def _by_axes(q: Floats, g: Floats, axes: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Floats:
    return by_axes(Pair(q, _NONE, g, _NONE), *axes)


def fit_of(engine: RecognitionEngine, data: Path, work: Path) -> Floats:
    """Embeddings `float32 [n, 400]` of training photos, to which axes and hash layers are fitted."""

    def train(row: Row) -> bool:
        return row["split"] == "train" and not is_catalogue(row)

    parts = [
        kept(work / f"{name}-fit.npz", engine, partial(of_folder, engine, data / name, train, most))
        for name, most in FIT.items()
    ]
    studio = partial(of_studio, engine, TRAIN_IDENTITIES[:FIT_STUDIO], 1)
    return np.concatenate([one.embedding for one in (*parts, kept(work / "studio-fit.npz", engine, studio))])


def main() -> int:
    """Embed what is missing, compare, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page", bundle=True)
    options.add_argument("--data", type=Path, required=True, help="folder with the demo's data sets and freiburg")
    options.add_argument("--work", type=Path, required=True, help="folder for embeddings; kept")
    options.add_argument(
        "--hashes", action="store_true", help="compare hash layers (benchmarks.search.unseen_order) instead"
    )
    arguments = options.parse_args()
    engine, bundle = build_engine(arguments.bundle), load_bundle(arguments.bundle)
    layer = read_hash_layer(bundle)
    if layer is None:
        raise SystemExit("--bundle: it tells no linear hash layer")
    fit = fit_of(engine, arguments.data, arguments.work)
    pairs = pairs_of(engine, arguments.data, arguments.work)
    engine.close()
    if arguments.hashes:
        both = {n: Pair(one.embedding, one.shown, other.embedding, other.shown) for n, (one, other) in pairs.items()}
        header, lines = ["by", *pairs], compared(fit, both)
    else:
        header, lines = _orders(layer, fit, pairs)
    counts = ", ".join(f"{name} {len(one.shown)} among {len(other.shown)}" for name, (one, other) in pairs.items())
    body = (
        f"R@1 of validation photos: {counts}. *rank*: the mean of 1 / the place of the first right one. Layers are "
        f"fitted to {len(fit)} training photos.\n\n{table(header, lines)}"
    )
    command = (
        f"python -m benchmarks.search.embedding_order --data DATA --work WORK{' --hashes' if arguments.hashes else ''}"
    )
    write_page(page("How the nearest are compared", command, versions("onnxruntime", "numpy"), body), arguments.out)
    return 0


def _orders(
    layer: HashLayer, fit: Floats, pairs: Mapping[str, tuple[Photos, Photos]]
) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table of orders."""
    lines = []
    for name, way in ways(layer, fit):
        shares = []
        for photos, among in pairs.values():
            hits = among.shown[np.argsort(-way(photos.embedding, among.embedding), axis=1)] == photos.shown[:, None]
            shares += [float(hits[:, 0].mean()), float((1 / (1 + hits.argmax(1))).mean())]
        lines.append([name, *(f"{share:.3f}" for share in shares)])
    return ["by", *(f"{name}, {measure}" for name in pairs for measure in ("R@1", "rank"))], lines


if __name__ == "__main__":
    sys.exit(main())
