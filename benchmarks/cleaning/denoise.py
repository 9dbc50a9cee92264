"""Ways to find wrong photos under a label: hierarchical DBSCAN beside the clusterings that were tried with it.

    python -m benchmarks.cleaning.denoise --set studio --data FOLDER --work WORK

It takes the dirty set that benchmarks.cleaning.cleaning_truth planted, without its near-duplicates, and the same
embeddings. The parameters of every method are chosen on the first half of the products, for the most wrong photos found
at a precision of .90 or more; the table is of the second half. Where a method never reaches that precision, its most
precise parameters count. The last row is the command with its defaults, which takes radii from the photos that it
cleans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cleaning.cleaning_truth import embeddings, halves, plant
from benchmarks.cleaning.near_duplicates import planted
from benchmarks.report import page, parser, table, write_page
from training.cleaning.products.noise import (
    NoiseSettings,
    group_by_product,
    hierarchical_dbscan,
    noise_marks,
    squared,
)
from training.readers import read
from training.readers.label_table import Row

Floats = NDArray[np.float32]
Kept = NDArray[np.bool_]
Method = Callable[[Floats, Floats, Any], Kept]
"""(embeddings [n, d], squared distances [n, n], parameter) → which photos are of the product, bool [n]."""
PRECISION = 0.90
KEYS = ("precision", "other", "same")
RADII = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)


@dataclass(frozen=True)
class Half:
    """One half of a planted set: embeddings, and for each the label and how it is wrong."""

    vectors: Floats
    rows: Sequence[Row]


def _largest(labels: NDArray[np.int64]) -> Kept:
    known = labels[labels >= 0]
    return labels == np.bincount(known).argmax() if len(known) else np.ones(len(labels), np.bool_)


def _k_means(vectors: Floats, apart: Floats, count: int) -> Kept:
    from sklearn.cluster import KMeans

    return _largest(KMeans(min(count, len(vectors)), n_init=3, random_state=0).fit(vectors).labels_)


def _mean_shift(vectors: Floats, apart: Floats, radius: float) -> Kept:
    from sklearn.cluster import MeanShift

    return _largest(MeanShift(bandwidth=radius).fit(vectors).labels_)


def _agglomerative(vectors: Floats, apart: Floats, radius: float) -> Kept:
    from sklearn.cluster import AgglomerativeClustering

    model = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=radius)
    return _largest(model.fit(apart).labels_)


def _dbscan(vectors: Floats, apart: Floats, radius: float) -> Kept:
    from sklearn.cluster import DBSCAN

    return _largest(DBSCAN(eps=radius, min_samples=2, metric="precomputed").fit(apart).labels_)


def _hdbscan(vectors: Floats, apart: Floats, smallest: int) -> Kept:
    from sklearn.cluster import HDBSCAN

    size = min(smallest, len(vectors))
    model = HDBSCAN(max(2, size), min_samples=1, metric="precomputed", allow_single_cluster=True, copy=True)
    return _largest(model.fit(apart.astype(np.float64)).labels_)


def _hierarchical(vectors: Floats, apart: Floats, radii: tuple[float, float]) -> Kept:
    cluster, kept = hierarchical_dbscan(apart, *radii)
    return kept if cluster.any() else np.ones(len(apart), np.bool_)


METHODS: dict[str, tuple[Method, Sequence[Any]]] = {
    "k-means": (_k_means, (2, 3, 4)),
    "mean shift": (_mean_shift, RADII),
    "agglomerative": (_agglomerative, RADII),
    "DBSCAN": (_dbscan, RADII),
    "HDBSCAN": (_hdbscan, (2, 3, 4, 6)),
    "hierarchical DBSCAN": (_hierarchical, [(s, w) for s in RADII for w in RADII if w > s]),
}


def judge(half: Half, method: Method, parameter: Any) -> dict[str, float]:
    """Precision and recall of the photos that a method does not keep."""
    marked = np.zeros(len(half.rows), np.bool_)
    for places in group_by_product([row["product"] for row in half.rows]).values():
        if len(places) >= 3:
            vectors = half.vectors[places]
            marked[places] = ~method(vectors, squared(vectors, vectors), parameter)
    return counted(half, marked)


def noise_marks_of(half: Half) -> NDArray[np.bool_]:
    """What the command marks with its defaults: hierarchical DBSCAN with radii from these photos alone, and then the
    photos that are nearer to another product."""
    paths, products = ([row[name] for row in half.rows] for name in ("path", "product"))
    _, marks = noise_marks(paths, products, half.vectors, NoiseSettings())
    gone = {mark.photo for mark in marks}
    return np.array([path in gone for path in paths])


def counted(half: Half, marked: NDArray[np.bool_]) -> dict[str, float]:
    """Precision and recall of marks, bool [n]."""
    kinds = np.array([row["wrong"] for row in half.rows])
    other, same = kinds == "other", kinds == "same"
    wrong = other | same
    return {
        "precision": float(marked[wrong].sum() / marked.sum()) if marked.any() else 1.0,
        "other": float(marked[other].mean()) if other.any() else 0.0,
        "same": float(marked[same].mean()) if same.any() else 0.0,
        "found": float(marked[wrong].mean()) if wrong.any() else 0.0,
    }


def choose(half: Half, method: Method, parameters: Sequence[Any]) -> Any:
    """The parameter that finds most at the wanted precision, or else the most precise one."""
    judged = [(judge(half, method, parameter), parameter) for parameter in parameters]
    good = [one for one in judged if one[0]["precision"] >= PRECISION]
    if good:
        return max(good, key=lambda one: one[0]["found"])[1]
    return max(judged, key=lambda one: (one[0]["precision"], one[0]["found"]))[1]


def _half(options: Any, measured: bool) -> Half:
    plan = planted()
    chosen = halves(read("csv", options.data).rows, plan["sets"][options.set], options.most)[measured]
    work = options.work / f"{options.set}-{'measured' if measured else 'chosen'}"
    rows = plant(options.data, chosen, work / "photos", plan)
    vectors = embeddings(work, work / "photos", rows, options.bundle, options.features)
    kept = [place for place, row in enumerate(rows) if not row["change"]]
    return Half(vectors[kept], [rows[place] for place in kept])


def main() -> None:
    """Choose, measure, print."""
    made = parser(__doc__, tells="page", bundle=True)
    made.add_argument("--data", type=Path, required=True, help="folder of the data set")
    made.add_argument("--set", choices=sorted(planted()["sets"]), required=True, help="its entry in the file")
    made.add_argument("--work", type=Path, required=True, help="folder of benchmarks.cleaning.cleaning_truth")
    made.add_argument("--most", type=int, default=24, help="photos of each product, at most (default 24)")
    made.add_argument("--features", choices=("bundle", "frozen"), default="bundle", help="what embeds the photos")
    options = made.parse_args()
    first, second = _half(options, False), _half(options, True)
    lines = []
    for name, (method, parameters) in METHODS.items():
        parameter = choose(first, method, parameters)
        found = judge(second, method, parameter)
        lines.append([name, str(parameter), *(f"{found[key]:.3f}" for key in KEYS)])
    found = counted(second, noise_marks_of(second))
    lines.append(["as `groknet data denoise`", "from the data", *(f"{found[key]:.3f}" for key in KEYS)])
    header = ["method", "parameter", "precision", "recall, other coarse class", "recall, same coarse class"]
    command = f"python -m benchmarks.cleaning.denoise --set {options.set} --features {options.features}"
    write_page(page(f"De-noising, {options.set}", command, "", table(header, lines)), options.out)


if __name__ == "__main__":
    main()
