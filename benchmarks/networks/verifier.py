"""A small verifier of the first ten listings: `python -m benchmarks.networks.verifier --data FOLDER --work FOLDER`.

A query is a photo of a user. The gallery has the catalogue photos of groceries and of studio products, and photos of
clothes. The ten nearest by the bundle's embedding get a new order: by k-reciprocal neighbours, or by a small model of
their cosine and of what two maps of the trunk say of matching places (`local_matches.py`). Models learn from training
photos; validation photos choose one; `--test` measures that one on the test photos. `--work` keeps drawn photos and
maps, so a run that was stopped goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.networks.local_maps import ENDS, LocalMaps
from benchmarks.networks.local_matches import FIGURES, matches
from benchmarks.networks.shop_photos import SETS, Photos, looked
from benchmarks.report import page, parser, table, versions, write_page
from benchmarks.trials import paired_interval
from training.bundle.applying.features import Tail
from training.evaluation.folder import decode_row
from workers.search.find.rerank import k_reciprocal

Floats = NDArray[np.float32]
FIRST = 10  # listings that get a new order
COSINE = ("cosine", "below the first")


@dataclass(frozen=True)
class Lists:
    """The first listings of q queries: places in the gallery `[q, FIRST]`, figures of each pair `[q, FIRST, figures]`,
    whether it is right `[q, FIRST]`, and how many queries had a right listing anywhere."""

    near: NDArray[np.int64]
    figures: Floats
    right: NDArray[np.bool_]


def figure_names() -> list[str]:
    """What the columns of `Lists.figures` are."""
    return [*COSINE, *(f"{end} {name}" for end in ENDS for name in FIGURES)]


def lists_of(queries: Photos, gallery: Photos) -> Lists:
    """The first listings of every query with their figures."""
    alike = queries.embedding @ gallery.embedding.T
    near = np.argsort(-alike, axis=1, kind="stable")[:, :FIRST]
    cosine = np.take_along_axis(alike, near, 1)
    figures = np.empty((*near.shape, len(figure_names())), np.float32)
    for row, places in enumerate(near):
        figures[row] = pair_figures(queries, row, gallery, places, cosine[row])
    return Lists(near, figures, gallery.product[near] == queries.product[:, None])


def pair_figures(queries: Photos, row: int, gallery: Photos, places: NDArray[np.int64], cosine: Floats) -> Floats:
    """The figures of one query beside the listings at `places [k]`, whose cosines are known: `float32 [k, figures]`."""
    local = [
        matches(
            queries.seen.maps[end][row],
            queries.seen.weights[end][row],
            gallery.seen.maps[end][places],
            gallery.seen.weights[end][places],
        )
        for end in ENDS
    ]
    return np.concatenate([np.stack([cosine, cosine - cosine.max()], 1), *local], 1)


class Verifier:
    """A classifier of right and wrong pairs. It sees each figure, and its distance from the list's mean."""

    def __init__(self, columns: Sequence[int], *, hidden: int = 0) -> None:
        self._columns = list(columns)
        last = (
            MLPClassifier((hidden,), alpha=1e-2, max_iter=300, early_stopping=True, random_state=0)
            if hidden
            else LogisticRegression(C=1.0, max_iter=1000)
        )
        self._model = make_pipeline(StandardScaler(), last)

    def _inputs(self, figures: Floats) -> Floats:
        kept = figures[..., self._columns]
        both: Floats = np.concatenate([kept, kept - kept.mean(-2, keepdims=True)], -1)
        return both.reshape(-1, both.shape[-1])

    def fit(self, lists: Sequence[Lists]) -> Verifier:
        """Learn from the lists that have a right listing."""
        has = [one.right.any(1) for one in lists]
        x = np.concatenate([self._inputs(one.figures[some]) for one, some in zip(lists, has, strict=True)])
        y = np.concatenate([one.right[some].ravel() for one, some in zip(lists, has, strict=True)])
        self._model.fit(x, y)
        return self

    def __call__(self, figures: Floats) -> Floats:
        """How likely each pair is right, `[..., k]` for figures `[..., k, figures]`."""
        said: Floats = self._model.predict_proba(self._inputs(figures))[:, 1].reshape(figures.shape[:-1])
        return said


def places_of(lists: Lists, score: Floats | None, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the right listing of each query stands, from 0, with the first listings in the order of `score [q, FIRST]`,
    or as they are. `ranks [q]` is where it stands without a new order: each product has one listing."""
    place = ranks.copy()
    if score is not None:
        order = np.argsort(-score, axis=1, kind="stable")
        moved = np.take_along_axis(lists.right, order, 1)
        place[ranks < FIRST] = moved.argmax(1)[ranks < FIRST]
    return place


def recalls(place: NDArray[np.int64]) -> tuple[float, float, float]:
    """R@1, R@5 and mAP of queries whose one right listing stands at `place [q]`, from 0."""
    return float((place < 1).mean()), float((place < 5).mean()), float((1 / (1 + place)).mean())


def ranks_of(queries: Photos, gallery: Photos) -> NDArray[np.int64]:
    """Where the right listing of each query stands, from 0."""
    order = np.argsort(-(queries.embedding @ gallery.embedding.T), axis=1, kind="stable")
    found: NDArray[np.int64] = (gallery.product[order] == queries.product[:, None]).argmax(1)
    return found


def reciprocal(queries: Photos, gallery: Photos, near: NDArray[np.int64]) -> Floats:
    """Scores `[q, FIRST]` by k-reciprocal neighbours of the query among its first listings."""
    found = np.empty(near.shape, np.float32)
    for row, places in enumerate(near):
        codes = np.concatenate([queries.embedding[row : row + 1], gallery.embedding[places]])
        apart = np.maximum(0.0, 1.0 - codes @ codes.T).astype(np.float32)
        np.fill_diagonal(apart, 0.0)
        found[row] = -k_reciprocal(apart)
    return found


def variants() -> dict[str, tuple[list[int], int]]:
    """Name of a verifier → columns of the figures, and hidden units."""
    names = figure_names()
    parts = {end: [i for i, name in enumerate(names) if name.startswith(end)] for end in ENDS}
    cosine = list(range(len(COSINE)))
    return {
        "cosine and the last map": (cosine + parts["last"], 0),
        "cosine and the inner map": (cosine + parts["inner"], 0),
        "cosine and both maps": (cosine + parts["last"] + parts["inner"], 0),
        "cosine and both maps, 16 hidden units": (cosine + parts["last"] + parts["inner"], 16),
        "both maps without the cosine": (parts["last"] + parts["inner"], 0),
    }


def milliseconds(work: Callable[[int], object], count: int) -> float:
    """Processor time of one call, over `count` calls."""
    begun = time.process_time()
    for i in range(count):
        work(i)
    return (time.process_time() - begun) / count * 1000


def costs(photos: Mapping[str, Photos], trunk: LocalMaps, tail: Tail, verify: Verifier, data: Path) -> dict[str, float]:
    """Processor time in ms: of a query without a new order (network and search; decoding is left out), and what each
    new order adds."""
    queries, gallery = photos["grocery val"], photos["catalogue"]
    count = min(60, len(queries.product))
    rows = queries.seen.rows[:count]
    pixels = [decode_row(data / "grocery", row, trunk.manifest.preprocess) for row in rows]
    shown = np.stack([one for one in pixels if not isinstance(one, str)])
    near = lists_of(queries.taken(np.arange(count)), gallery).near

    def plain(i: int) -> None:
        tail.run(trunk.run(shown[i : i + 1])[0])
        np.argpartition(-(queries.embedding[i] @ gallery.embedding.T), FIRST)

    def verified(i: int) -> None:
        cosine = gallery.embedding[near[i]] @ queries.embedding[i]
        verify(pair_figures(queries, i, gallery, near[i], cosine))

    plain(0)
    return {
        "network and search": milliseconds(plain, len(shown)),
        "k-reciprocal": milliseconds(lambda i: reciprocal(queries.taken(np.array([i])), gallery, near[i : i + 1]), 60),
        "reducing the maps": milliseconds(lambda i: trunk.described(shown[i : i + 1]), len(shown))
        - milliseconds(lambda i: trunk.run(shown[i : i + 1]), len(shown)),
        "verifier": milliseconds(verified, count),
    }


def main() -> int:
    """Look at what the cache lacks, learn, choose, measure, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page", bundle=True)
    options.add_argument("--data", type=Path, required=True, help="folder with grocery, fashion and clothing")
    options.add_argument("--work", type=Path, required=True, help="folder for drawn photos and maps; kept")
    options.add_argument("--test", action="store_true", help="measure the chosen verifier on the test photos, too")
    given = options.parse_args()
    photos, trunk, tail = looked(given.data, given.work, given.bundle)
    gallery = photos["catalogue"]
    splits = ("train", "val", "test") if given.test else ("train", "val")
    lists = {f"{name} {split}": lists_of(photos[f"{name} {split}"], gallery) for name in SETS for split in splits}
    ranks = {part: ranks_of(photos[part], gallery) for part in lists}
    lines, made = [], {}

    def line(name: str, learnt: str, scores: Mapping[str, Floats | None]) -> float:
        shares = [recalls(places_of(lists[part], score, ranks[part])) for part, score in scores.items()]
        lines.append([name, learnt, *(f"{100 * share:.1f}" for three in shares for share in three)])
        return float(np.mean([three[0] for three in shares]))

    val = [f"{name} val" for name in SETS]
    line("none", "–", dict.fromkeys(val))
    line("k-reciprocal", "–", {part: reciprocal(photos[part], gallery, lists[part].near) for part in val})
    for name, (columns, hidden) in variants().items():
        for learnt, parts in (("both", SETS), ("studio", ("studio",))):
            verify = Verifier(columns, hidden=hidden).fit([lists[f"{one} train"] for one in parts])
            score = line(name, learnt, {part: verify(lists[part].figures) for part in val})
            made[name, learnt] = score, verify
    (name, learnt), (_, chosen) = max(made.items(), key=lambda item: item[1][0])
    tested = ""
    if given.test:
        test, before = [f"{one} test" for one in SETS], len(lines)
        line("none", "–", dict.fromkeys(test))
        line("k-reciprocal", "–", {part: reciprocal(photos[part], gallery, lists[part].near) for part in test})
        line(name, learnt, {part: chosen(lists[part].figures) for part in test})
        tested = f"Test photos, for what was chosen:\n\n{table(_HEAD, lines[before:])}\n\n"
        del lines[before:]
        for part in test:
            place = places_of(lists[part], chosen(lists[part].figures), ranks[part])
            gap, low, high = paired_interval(place == 0, ranks[part] == 0)
            tested += f"Chosen − none, R@1 of {part}: {gap:+.1f} points ({low:+.1f} … {high:+.1f}).\n\n"
    spent = costs(photos, trunk, tail, chosen, given.data)
    counts = ", ".join(f"{part} {len(one)} ({100 * (one == 0).mean():.1f} % first)" for part, one in ranks.items())
    body = (
        f"Photos: {counts}; gallery {len(gallery.product)}. The first {FIRST} get a new order. In per cent. Validation "
        f"photos, which choose:\n\n{table(_HEAD, lines)}\n\nChosen: {name}, learnt from {learnt}.\n\n{tested}"
        "Processor time of a query, ms:\n\n"
        f"{table(('part', 'ms'), [[what, f'{ms:.1f}'] for what, ms in spent.items()])}"
    )
    command = "python -m benchmarks.networks.verifier --data DATA --work WORK" + (" --test" if given.test else "")
    packages = versions("onnxruntime", "scikit-learn", "numpy")
    write_page(page("A verifier of the first listings", command, packages, body), given.out)
    return 0


_HEAD = ("new order", "learnt from", *(f"{name} {figure}" for name in SETS for figure in ("R@1", "R@5", "mAP")))


if __name__ == "__main__":
    sys.exit(main())
