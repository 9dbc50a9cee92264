"""Typed queries: listings found by what their photos show, by their titles, and by both:
`python -m benchmarks.search.typed_queries --data FOLDER`.

A query is the name of a label, or of two labels that belong together ("red t-shirts"). A listing is relevant if its row
has these labels. The photos never saw training. *titles* is BM25 of SQLite (FTS5 with the Porter stemmer). *photos* and
*both* are the label index of the search service, without and with titles. *centres* is another way to find candidates
by photos: the mean embedding of a label's training photos, its hash, the nearest hashes, re-scored.

Validation photos choose the weights (`--split val`); the page has test photos.
"""

from __future__ import annotations

import itertools
import random
import re
import sqlite3
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, versions, write_page
from engines.recognition import Predictions, RecognitionEngine, build_engine
from engines.words import Phrases
from groknet.gallery.coverage import heads_of
from schemas import predictions as stored
from schemas.manifest import Manifest
from training.evaluation import predict
from training.readers import read
from training.readers.label_table import Row, is_catalogue
from training.studio import TEST_IDENTITIES, TRAIN_IDENTITIES, make_product, render
from workers.search.find.likeness import by_bits
from workers.search.typed.label_index import LabelIndex
from workers.search.typed.query import RULE, Reader, Term, TypedRule, relevance, title_words

FIRST, DEEP = 10, 100
LEAST = 3  # relevant listings of a query; fewer say little
TITLES = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
FLOORS = (0.001, 0.003, 0.01, 0.03, 0.1)
NARROWED = "Share of queries with a listing of the photo's kind and of the typed colour among the first."
COVERED = "Share of the listings that get a label of these columns, as `groknet gallery coverage` counts."
HALF = 2  # every second listing keeps its title


@dataclass(frozen=True)
class Shop:
    """One set of labels: its columns that are queried, pairs of columns, and the column of titles."""

    name: str
    columns: dict[str, str]  # column -> head
    pairs: tuple[tuple[str, str], ...]
    title: str


SHOPS = (
    Shop(
        "grocery",
        {"product": "grocery.product", "coarse": "grocery.coarse", "department": "grocery.department"},
        (),
        "title",
    ),
    Shop(
        "fashion",
        {"articleType": "fashion.article-type", "baseColour": "fashion.colour", "gender": "fashion.gender"},
        (("baseColour", "articleType"), ("gender", "articleType")),
        "productDisplayName",
    ),
    Shop(
        "studio",
        {
            "category": "studio.category",
            "colour": "studio.colour",
            "material": "studio.material",
            "pattern": "studio.pattern",
        },
        (("colour", "category"), ("material", "category"), ("pattern", "category")),
        "title",
    ),
)


@dataclass(frozen=True)
class Listings:
    """Photos, each of which is a listing: rows of labels, what the engine says, and titles."""

    rows: list[Row]
    said: list[stored.Predictions]
    predictions: Predictions
    titles: list[str]

    def with_half_of_the_titles(self) -> Listings:
        """The same, but every second listing has no title."""
        return replace(self, titles=[t if i % HALF else "" for i, t in enumerate(self.titles)])


@dataclass
class Quality:
    """Of each query: precision and recall."""

    precision: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)

    def add(self, found: Sequence[int], relevant: set[int]) -> None:
        """Count a query. The places of a list that no relevant listing could take do not count."""
        few, many = min(FIRST, len(relevant)), min(DEEP, len(relevant))
        self.precision.append(len(relevant & set(found[:few])) / few)
        self.recall.append(len(relevant & set(found[:DEEP])) / many)

    def cells(self) -> list[str]:
        """Both means."""
        return [f"{np.mean(self.precision):.3f}", f"{np.mean(self.recall):.3f}"]


def studio_rows(split: str, count: int) -> tuple[list[Row], NDArray[np.uint8]]:
    """Studio products with their photos, uint8 [n, 224, 224, 3]. Validation and test are other products."""
    start = {"train": TRAIN_IDENTITIES.start, "val": TEST_IDENTITIES.start, "test": TEST_IDENTITIES.start + count}
    products = [make_product(start[split] + i) for i in range(count)]
    rows = [
        {"category": p.category, "colour": p.colour, "material": p.material, "pattern": p.pattern, "title": p.title}
        for p in products
    ]
    return rows, np.stack([render(one, 0).pixels for one in products])


def listings(engine: RecognitionEngine, data: Path, shop: Shop, split: str, count: int) -> Listings:
    """At most `count` photos of a split."""
    if shop.name == "studio":
        rows, pixels = studio_rows(split, count)
        step = engine.max_batch
        found = Predictions.concat([engine.infer(pixels[i : i + step]) for i in range(0, len(pixels), step)])
    else:
        every = [r for r in read("csv", data / shop.name).rows if r["split"] == split and not is_catalogue(r)]
        chosen = every if len(every) <= count else random.Random(0).sample(every, count)
        predicted = predict(engine, data / shop.name, chosen)
        rows, found = predicted.rows, predicted.predictions
    return Listings(rows, found.rows(engine.manifest), found, [row.get(shop.title, "") for row in rows])


def queries(manifest: Manifest, shop: Shop, rows: Sequence[Row]) -> dict[str, set[int]]:
    """Texts and the numbers of the rows that are relevant."""
    names = {
        (column, text): label.display.get("en", label.value)
        for column, head in shop.columns.items()
        for label in manifest.head(head).labels
        for text in (label.value, *label.merged)
    }
    made: dict[str, set[int]] = {}
    for columns in (*((one,) for one in shop.columns), *shop.pairs):
        for number, row in enumerate(rows):
            words = [names.get((column, row[column])) for column in columns]
            if all(words):
                made.setdefault(" ".join(str(word) for word in words), set()).add(number)
    return {text: relevant for text, relevant in sorted(made.items()) if len(relevant) >= LEAST}


class TitleSearch:
    """BM25 over titles. A title need not have all words."""

    def __init__(self, titles: Sequence[str]) -> None:
        self._db = sqlite3.connect(":memory:")
        self._db.execute("CREATE VIRTUAL TABLE listings USING fts5(title, tokenize = 'porter unicode61')")
        self._db.executemany("INSERT INTO listings (rowid, title) VALUES (?, ?)", list(enumerate(titles)))

    def __call__(self, text: str) -> list[int]:
        words = " OR ".join(f'"{word}"' for word in re.findall(r"[^\W_]+", text))
        sql = "SELECT rowid FROM listings WHERE listings MATCH ? ORDER BY bm25(listings), rowid LIMIT ?"
        return [row[0] for row in self._db.execute(sql, (words, DEEP))]


def index_of(made: Listings) -> LabelIndex:
    """The label index of the listings."""
    index = LabelIndex(most=len(made.rows))
    for number, (said, title) in enumerate(zip(made.said, made.titles, strict=True)):
        index.put(f"{number:06}", said, title_words(title))
    return index


class Centres:
    """Candidates by the hashes of labels' centres, re-scored by the candidates' predictions."""

    def __init__(self, manifest: Manifest, shop: Shop, photos: Listings, made: Listings) -> None:
        """`photos`: of training."""
        self._made = made
        self._codes: dict[tuple[str, str], NDArray[np.uint8]] = {}
        for column, head in shop.columns.items():
            for label in manifest.head(head).labels:
                rows = [i for i, row in enumerate(photos.rows) if row[column] in (label.value, *label.merged)]
                if rows and photos.predictions.layer is not None:
                    mean = photos.predictions.embedding[rows].mean(0, keepdims=True)
                    unit = mean / np.linalg.norm(mean)
                    self._codes[head, label.id] = np.packbits(photos.predictions.layer.margins(unit) > 0)

    def __call__(self, terms: Sequence[Term]) -> list[int]:
        near: set[int] = set()
        for choice in [choice for term in terms for choice in term.choices]:
            for label in choice.labels:
                code = self._codes.get((choice.head, label))
                if code is not None:
                    bits = np.bitwise_count(self._made.predictions.hash ^ code).sum(1)
                    near.update(np.argsort(bits, kind="stable")[:DEEP].tolist())
        weighed = [(term, 1.0) for term in terms if term.choices]
        scored = [(-relevance(weighed, self._made.said[number]), number) for number in near]
        return [number for _, number in sorted(scored)[:DEEP]]


def quality(find: Callable[[str], Sequence[int]], asked: dict[str, set[int]]) -> Quality:
    """Precision and recall of all queries."""
    counted = Quality()
    for text, relevant in asked.items():
        counted.add(find(text), relevant)
    return counted


def by_labels(index: LabelIndex, reader: Reader, rule: TypedRule, *, titles: bool) -> Callable[[str], list[int]]:
    """A search in the label index."""

    def find(text: str) -> list[int]:
        weighed = index.weigh(reader.read(text).terms, titles=titles)
        return [int(one) for one, _ in index.search(weighed, DEEP, titles=titles, rule=rule)]

    return find


def chosen(reader: Reader, cases: Sequence[tuple[Listings, dict[str, set[int]]]]) -> list[list[str]]:
    """The mean precision of both together for each weight of titles and each floor, on sets with all titles and with
    half of them."""
    indexes = [(index_of(one), asked) for made, asked in cases for one in (made, made.with_half_of_the_titles())]
    lines = []
    for title, floor in itertools.product(TITLES, FLOORS):
        rule = TypedRule(title=title, floor=floor)
        found = [quality(by_labels(index, reader, rule, titles=True), asked) for index, asked in indexes]
        both = [np.mean([np.mean(getattr(one, name)) for one in found]) for name in ("precision", "recall")]
        lines.append([f"{title:g}", f"{floor:g}", *(f"{value:.4f}" for value in both)])
    return lines


def compared(
    reader: Reader, shop: Shop, asked: dict[str, set[int]], made: Listings, centres_of: Callable[[Listings], Centres]
) -> list[list[str]]:
    """One row for each way to search."""
    lines = []
    for given, some in (("all", made), ("half", made.with_half_of_the_titles())):
        index, centres = index_of(some), centres_of(some)
        ways: dict[str, Callable[[str], Sequence[int]]] = {
            "titles": TitleSearch(some.titles),
            "photos": by_labels(index, reader, RULE, titles=False),
            "both": by_labels(index, reader, RULE, titles=True),
            "photos, by centres": lambda text, one=centres: one(reader.read(text).terms),  # type: ignore[misc]
        }
        for name, find in ways.items():
            if given == "all" or name in ("titles", "both"):
                told = given if name in ("titles", "both") else "none"
                lines.append([shop.name, str(len(asked)), name, told, *quality(find, asked).cells()])
    return lines


def covered(phrases: Phrases, shop: Shop, made: Listings) -> list[str]:
    """The share of the listings that get a label of the set's columns: from the photo, from the title, from either."""
    heads = set(shop.columns.values())
    photo = np.array([any(p.offered for head in heads for p in said[head]) for said in made.said])
    title = np.array([bool(heads & heads_of(title, phrases)) for title in made.titles])
    return [shop.name, f"{photo.mean():.3f}", f"{title.mean():.3f}", f"{(photo | title).mean():.3f}"]


def narrowed(reader: Reader, shop: Shop, made: Listings, kind: str, colour: str) -> list[list[str]]:
    """A photo, and the name of another colour: is a listing of this kind and colour among the first?

    Each listing's photo asks for each colour that another listing of its kind has. Rows: the order of the photo alone,
    of the words alone, and of both as the service combines them."""
    codes = made.predictions.hash
    hits: dict[str, list[list[bool]]] = {"photo": [], "words": [], "both": []}
    for number, row in enumerate(made.rows):
        bits = np.bitwise_count(codes ^ codes[number]).sum(1)
        alike = np.array([by_bits(int(one)) for one in bits])
        wanted = {r[colour] for r in made.rows if r[kind] == row[kind]} - {row[colour]}
        for other in sorted(wanted):
            weighed = [(term, 1.0) for term in reader.read(f"in {other}").terms if term.choices]
            if not weighed:
                continue
            answers = np.array([relevance(weighed, said) for said in made.said])
            right = np.array([r[kind] == row[kind] and r[colour] == other for r in made.rows])
            for name, score in (("photo", alike), ("words", answers), ("both", answers * alike)):
                order = [i for i in np.argsort(-score, kind="stable").tolist() if i != number]
                hits[name].append([bool(right[order[:k]].any()) for k in (1, 5, FIRST)])
    return [
        [shop.name, str(len(found)), name, *(f"{share:.3f}" for share in np.mean(found, axis=0))]
        for name, found in hits.items()
    ]


def cost(reader: Reader, made: Listings, copies: int) -> str:
    """The index with many copies of the listings: memory, and processor time, to which other processes do not add."""
    index = LabelIndex(most=copies * len(made.rows))
    tracemalloc.start()
    for copy, number in itertools.product(range(copies), range(len(made.rows))):
        index.put(f"{copy}/{number}", made.said[number], title_words(made.titles[number]))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    began = time.process_time()
    for number in range(len(made.rows)):
        index.put(f"0/{number}", made.said[number], title_words(made.titles[number]))
    filled = time.process_time() - began
    times = []
    for text in ("red mug", "shirts", "blue jeans for men", "striped ceramic bowl"):
        terms = reader.read(text).terms
        for _ in range(5):
            began = time.process_time()
            index.search(index.weigh(terms), FIRST)
            times.append(time.process_time() - began)
    many = copies * len(made.rows)
    return (
        f"With {many:,} listings in the label index, a query takes {1000 * np.median(times):.1f} ms of one core "
        f"(median of {len(times)}), a change of a listing {1e6 * filled / len(made.rows):.0f} µs with reading its "
        f"title, and each listing {held / many:.0f} bytes."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the page or write it where `--out` says."""
    options = parser(__doc__, tells="page", bundle=True)
    options.add_argument("--data", type=Path, required=True, help="folder with grocery/ and fashion/")
    options.add_argument("--photos", type=int, default=400, help="at most so many listings of each set")
    options.add_argument("--trained", type=int, default=400, help="at most so many training photos for the centres")
    options.add_argument("--split", choices=["val", "test"], default="test", help="val chooses the weights")
    options.add_argument("--copies", type=int, default=250, help="copies of the listings for the time of a query")
    given = options.parse_args(arguments)
    engine = build_engine(given.bundle)
    manifest = engine.manifest
    phrases = Phrases(manifest)
    reader = Reader(manifest, phrases)
    made = {shop.name: listings(engine, given.data, shop, given.split, given.photos) for shop in SHOPS}
    asked = {shop.name: queries(manifest, shop, made[shop.name].rows) for shop in SHOPS}
    command = f"python -m benchmarks.search.typed_queries --data DATA --photos {given.photos} --split {given.split}"
    if given.split == "test":
        command += f" --trained {given.trained}"
    if given.split == "val":
        header = ["weight of a title", "floor", "precision@10", f"recall@{DEEP}"]
        body = table(header, chosen(reader, [(made[one], asked[one]) for one in made]))
    else:
        trained = {shop.name: listings(engine, given.data, shop, "train", given.trained) for shop in SHOPS}
        header = ["listings", "queries", "found by", "titles", "precision@10", f"recall@{DEEP}"]
        lines = [
            line
            for shop in SHOPS
            for line in compared(
                reader,
                shop,
                asked[shop.name],
                made[shop.name],
                lambda some, shop=shop: Centres(manifest, shop, trained[shop.name], some),  # type: ignore[misc]
            )
        ]
        counts = ", ".join(f"{len(one.rows)} {name}" for name, one in made.items())
        few = ["listings", "queries", "ordered by", "first", "of 5", "of 10"]
        kinds = {"fashion": ("articleType", "baseColour"), "studio": ("category", "colour")}
        narrow = [
            one
            for shop in SHOPS
            if shop.name in kinds
            for one in narrowed(reader, shop, made[shop.name], *kinds[shop.name])
        ]
        body = "\n\n".join(
            [
                f"Listings: {counts}.",
                table(header, lines),
                f"## A photo and a colour\n\n{NARROWED}",
                table(few, narrow),
                f"## Coverage\n\n{COVERED}",
                table(
                    ["listings", "photo", "title", "either"], [covered(phrases, one, made[one.name]) for one in SHOPS]
                ),
                f"## Cost\n\n{cost(reader, made['studio'], given.copies)}",
            ]
        )
    engine.close()
    write_page(
        page("Typed queries", command, f"bundle {manifest.model_version}; {versions('numpy', 'onnxruntime')}", body),
        given.out,
    )


if __name__ == "__main__":
    main()
