"""Canonical products on a stream with planted groups: `python -m benchmarks.listings.products --data FOLDER --kept
FOLDER`.

Real photos of the validation and test splits, and changed copies of them, go through the engine (`product_photos`).
Listings are made of these: each has one version of one photo, so equal hashes occur as well, as with sellers who take
the same file. The listings come in random order, with edits and removals, through the products worker's own grouping.

Pairs of listings with versions of one photo are near copies: precision and recall count these. Pairs with different
photos of one product (viewpoints) are told apart, and count neither as right nor as wrong. All others are wrong.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from benchmarks.listings.product_photos import HARD, Original, Version, originals
from benchmarks.report import page, parser, table, versions, write_page
from schemas.envelope import cloud_event_headers
from schemas.hashes import HASH_TYPE, HashMessage, ImageHash, encode_hashes
from schemas.topics import hash_topic, topics_for
from workers.http.serving import Health
from workers.products import ProductsSettings, build_products
from workers.products.grouping import Grouping, Labels, LabelsOf
from workers.products.naming import Book
from workers.stores import build_store
from workers.streams import TopicSpec, build_stream

EPOCH = "0123456789ab"
BIRTH = 1_790_000_000_000_000
RADII = (16, 20, 24, 28, 32, 36, 40)
DIFFERENCES = (0, 1, 99)
EDITED, REMOVED = 0.2, 0.1
PARTS = ("rules", "stream", "worker", "copies")
COPIES = (28, 100, 250, 1_000, 4_000)
CHANGES = 20
RULED = 1_500  # listings on which a rule is chosen


@dataclass(frozen=True)
class Listing:
    """What a listing shows: a version of a photo of a product."""

    message: HashMessage
    photo: int
    product: str
    version: Version


@dataclass(frozen=True)
class Score:
    """Pairs of listings in one group, by kind, and pairs that should be."""

    right: int
    wrong: int
    viewpoint: int
    copies: int
    all_viewpoint: int

    @property
    def precision(self) -> float:
        """The share of near copies among the pairs that are no viewpoints."""
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """The share of pairs of near copies that were found."""
        return self.right / max(1, self.copies)


class Shop:
    """Listings of planted products, and what happens to them."""

    def __init__(self, photos: Sequence[Original], seed: int) -> None:
        self._photos = photos
        self._draw = random.Random(seed)
        self._time = BIRTH

    def listing(self, number: int) -> Listing:
        """A listing of a random version of a random photo, newer than all before. Half of the photos are rare."""
        draw, self._time = self._draw, self._time + self._draw.randrange(1, 1_000_000)
        at = min(draw.randrange(len(self._photos)), draw.randrange(len(self._photos)))
        photo = self._photos[at]
        version = draw.choice([one for one in photo.versions if one.change != HARD])
        message = HashMessage(
            listing_id=f"l-{number:05}",
            event_time=self._time,
            epoch=EPOCH,
            model_version="m",
            state="active",
            category=None,
            images=[ImageHash(image_id="1", hash=version.code)],
        )
        return Listing(message, at, f"{photo.shop}/{photo.product}", version)

    def removal(self) -> int:
        """An event time for a removal."""
        self._time += 1
        return self._time


def labels_of(live: Mapping[str, Listing]) -> LabelsOf:
    """What the store would say of listings."""

    def read(names: Sequence[str]) -> dict[str, Labels]:
        found = {name: live[name].version.labels for name in names if name in live}
        return {name: {head: frozenset(some) for head, some in labels.items()} for name, labels in found.items()}

    return read


def groups_of(book: Book) -> list[Collection[str]]:
    """The listings of each product."""
    return [book.members(name) for name, product in book.products.items() if product.survivor is None]


def score(groups: Sequence[Collection[str]], live: Mapping[str, Listing]) -> Score:
    """Count the pairs of all groups."""
    right = wrong = viewpoint = 0
    for group in groups:
        for one, other in combinations(group, 2):
            a, b = live[one], live[other]
            right += a.photo == b.photo
            viewpoint += a.photo != b.photo and a.product == b.product
            wrong += a.product != b.product
    photos: dict[int, int] = {}
    products: dict[str, int] = {}
    for listing in live.values():
        photos[listing.photo] = photos.get(listing.photo, 0) + 1
        products[listing.product] = products.get(listing.product, 0) + 1
    copies = sum(n * (n - 1) // 2 for n in photos.values())
    return Score(right, wrong, viewpoint, copies, sum(n * (n - 1) // 2 for n in products.values()) - copies)


def settle(grouping: Grouping) -> None:
    """Carry out all plans."""
    while grouping.unsettled:
        grouping.done(grouping.plan())


def grouped(settings: ProductsSettings, listings: Mapping[str, Listing], order: Sequence[str], book: Book) -> Grouping:
    """Group listings that come in an order, from a book."""
    made = Grouping(settings, EPOCH, book, labels_of(listings))
    for name in order:
        made.put(listings[name].message)
    settle(made)
    return made


def copy_of(book: Book) -> Book:
    """The book as a new process reads it."""
    return Book(list(book.products.values()), list(book.memberships.values()))


def end_of(book: Book, product_id: str) -> str | None:
    """The product that an id leads to now; None if it leads nowhere."""
    product = book.products.get(product_id)
    while product is not None and product.survivor is not None:
        product = book.products.get(product.survivor)
    return None if product is None else product.product_id


def ids(book: Book) -> dict[str, str]:
    """The product of each listing."""
    return {name: one.product_id for name, one in book.memberships.items()}


def rules(photos: Sequence[Original], count: int) -> str:
    """Precision and recall for every radius and number of differences, on validation photos."""
    shop = Shop(photos, 1)
    live = {one.message.listing_id: one for one in (shop.listing(number) for number in range(count))}
    rows = []
    for radius in RADII:
        for differences in DIFFERENCES:
            settings = ProductsSettings(radius_bits=radius, most_differences=differences)
            found = score(groups_of(grouped(settings, live, list(live), Book()).book), live)
            rows.append(
                [radius, differences, f"{found.precision:.4f}", f"{found.recall:.3f}", found.wrong, found.viewpoint]
            )
    return table(["bits", "heads that may differ", "precision", "recall", "wrong pairs", "viewpoint pairs"], rows)


def history(settings: ProductsSettings, photos: Sequence[Original], count: int) -> str:
    """A stream of additions, edits and removals; then re-orderings, a rebuild, and the same from nothing."""
    shop, draw = Shop(photos, 2), random.Random(3)
    live: dict[str, Listing] = {}
    grouping = Grouping(settings, EPOCH, Book(), labels_of(live))
    every, known, before = max(1, count // 4), dict[str, str](), dict[str, Listing]()
    began, events, kept, answered, asked = time.process_time(), 0, 0, 0, 0
    for number in range(count):
        steps = [number]
        steps += [draw.randrange(number + 1)] if draw.random() < EDITED else []
        for step in steps:
            made = shop.listing(step)
            live[made.message.listing_id] = made
            grouping.put(made.message)
            events += 1
        if draw.random() < REMOVED:
            gone = draw.choice(sorted(live)[-200:])
            del live[gone]
            grouping.remove(gone, shop.removal())
            events += 1
        if number % every == every - 1:
            settle(grouping)
            now = ids(grouping.book)
            same_photo = [name for name, listing in before.items() if live.get(name) is listing]
            kept += sum(now[name] == known[name] for name in same_photo)
            answered += sum(end_of(grouping.book, known[name]) == now[name] for name in same_photo)
            asked += len(same_photo)
            known, before = now, dict(live)
    settle(grouping)
    cost = (time.process_time() - began) / events
    found = score(groups_of(grouping.book), live)
    hard = hard_recall(settings, photos)
    viewpoints = f"{found.viewpoint:,} of {found.all_viewpoint:,}"
    rows = [
        ["events: additions, edits, removals", f"{events:,}"],
        ["listings at the end", f"{len(live):,}"],
        ["photos of the data sets", f"{len(photos):,}"],
        ["products at the end", f"{len(groups_of(grouping.book)):,}"],
        ["pairwise precision", f"{found.precision:.4f}"],
        ["pairwise recall", f"{found.recall:.3f}"],
        ["wrong pairs, right pairs", f"{found.wrong:,}, {found.right:,}"],
        ["joined pairs of other photos of a product (viewpoints), of all such pairs", viewpoints],
        [f"photos whose copy is within the radius if `{HARD}`, which does not count", f"{hard:.3f}"],
        ["listings whose photo stayed: kept their id to the next quarter of the stream", f"{kept / asked:.4f}"],
        ["the same: the old id is still theirs, or an alias of it", f"{answered / asked:.4f}"],
        ["processor time for an event, grouping and ids alone", f"{1e3 * cost:.2f} ms"],
    ]
    sys.stderr.write(table(["", ""], rows) + "\n")
    return table(["", ""], [*rows, *rebuilds(settings, grouping.book, live)])


def rebuilds(settings: ProductsSettings, book: Book, live: Mapping[str, Listing]) -> list[list[str]]:
    """Group the listings anew in other orders, from the stored ids, and once more without any."""
    order, same = list(live), []
    for seed in range(2):
        random.Random(seed).shuffle(order)
        again = grouped(settings, live, order, copy_of(book)).book
        same.append(ids(again) == ids(book) and again.products == book.products)
    fresh = {tuple(sorted(group)) for group in groups_of(grouped(settings, live, order, Book()).book)}
    equal = fresh == {tuple(sorted(group)) for group in groups_of(book)}
    return [
        ["rebuilds in other orders with the same ids", f"{sum(same)} of {len(same)}"],
        ["the same groups without any stored id", "yes" if equal else "no"],
    ]


def hard_recall(settings: ProductsSettings, photos: Sequence[Original]) -> float:
    """The share of photos whose hard version is within the radius."""
    near = 0
    for photo in photos:
        hard = next(one for one in photo.versions if one.change == HARD)
        near += (int(hard.code, 16) ^ int(photo.versions[0].code, 16)).bit_count() <= settings.radius_bits
    return near / len(photos)


def whole_path(settings: ProductsSettings, photos: Sequence[Original], count: int) -> str:
    """The worker over the embedded stream and store: time from the first record of a full topic to the last write."""
    shop = Shop(photos, 4)
    with tempfile.TemporaryDirectory() as folder:
        stream = build_stream(f"sqlite://{folder}/stream.db", "benchmark")
        admin, producer = stream.admin(), stream.producer()
        for topic in topics_for(EPOCH):
            if topic.name == hash_topic(EPOCH):
                admin.ensure_topics([TopicSpec(topic.name, topic.partitions, True, topic.retention_ms)])
        for number in range(count):
            message = shop.listing(number).message
            headers = cloud_event_headers(type_=HASH_TYPE, source="benchmark", key=message.listing_id)
            producer.send(hash_topic(EPOCH), message.listing_id.encode(), encode_hashes(message), headers)
        producer.close()
        admin.close()
        with closing(build_store(f"sqlite://{folder}/store.db")) as store:
            took = []
            for _ in range(2):
                health, stop = Health(), threading.Event()
                worker = build_products(
                    settings, stream=stream, store=store, epoch=EPOCH, health=health, owner="benchmark"
                )
                thread = threading.Thread(target=worker.run, args=(stop,))
                began = time.process_time()
                thread.start()
                while not health.ready:
                    time.sleep(0.01)
                took.append((time.process_time() - began) / count)
                stop.set()
                thread.join()
    rows = [
        ["first start: read, group, publish and write", f"{1e3 * took[0]:.2f} ms"],
        ["next start: read and group, nothing to write", f"{1e3 * took[1]:.2f} ms"],
    ]
    return table([f"processor time for each of {count:,} listings, embedded stream and store", ""], rows)


def many_copies() -> tuple[list[str], list[list[object]]]:
    """The cost of one change when one photo has many near copies: another listing of it comes, changes, or goes."""
    rows: list[list[object]] = []
    for copies in COPIES:
        draw, time_us = random.Random(copies), BIRTH
        base = draw.getrandbits(256)
        grouping = Grouping(ProductsSettings(), EPOCH, Book(), lambda _: {})

        def message(number: int, draw: random.Random = draw, base: int = base) -> HashMessage:
            nonlocal time_us
            time_us += 1
            code = base
            for bit in draw.sample(range(256), 10):
                code ^= 1 << bit
            hashes = [ImageHash(image_id="1", hash=f"{code:064x}")]
            fields = {"epoch": EPOCH, "model_version": "m", "state": "active", "category": None, "images": hashes}
            return HashMessage(listing_id=f"l-{number:05}", event_time=time_us, **fields)  # type: ignore[arg-type]

        began = time.process_time()
        for number in range(copies):
            grouping.put(message(number))
        settle(grouping)
        built = time.process_time() - began
        times = []
        for step in range(CHANGES):
            for change in ("come", "change", "go"):
                made = message(copies if change != "change" else step)
                began = time.process_time()
                if change == "go":
                    grouping.remove(made.listing_id, made.event_time)
                else:
                    grouping.put(made)
                settle(grouping)
                times.append((change, time.process_time() - began))
        found = [
            sorted(took for change, took in times if change == one)[CHANGES // 2] for one in ("come", "change", "go")
        ]
        products = len({one.product_id for one in grouping.book.memberships.values()})
        rows.append(
            [f"{copies:,}", products, f"{1e3 * built / copies:.2f} ms", *(f"{1e3 * one:.2f} ms" for one in found)]
        )
    head = [
        "listings of the photo",
        "products",
        "reading them all, for each",
        "one comes",
        "one changes its photo",
        "one goes",
    ]
    return head, rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the photos, choose on validation photos, measure on test photos, and write the page."""
    made = parser(__doc__, tells="page", bundle=True)
    made.add_argument("--data", type=Path, required=True, help="folder with the folders grocery and fashion")
    made.add_argument("--kept", type=Path, required=True, help="folder that keeps the hashes of the photos")
    made.add_argument("--photos", type=int, default=300, help="test photos; half as many of validation (default 300)")
    made.add_argument("--listings", type=int, default=10_000, help="planted listings (default 10000)")
    made.add_argument("--part", action="append", choices=PARTS, help="only this part; may be repeated (default: all)")
    chosen = made.parse_args(arguments)
    photos = {
        split: originals(chosen.data, chosen.bundle, split, count=count, seed=1, kept=chosen.kept)
        for split, count in (("val", chosen.photos // 2), ("test", chosen.photos))
    }
    settings = ProductsSettings(batch=100)
    made_of: dict[str, Callable[[], str]] = {
        "rules": lambda: rules(photos["val"], min(RULED, chosen.listings)),
        "stream": lambda: history(settings, photos["test"], chosen.listings),
        "worker": lambda: whole_path(settings, photos["test"], chosen.listings),
        "copies": lambda: table(*many_copies()),
    }
    titles = {
        "rules": f"## Choosing the rule\nValidation photos, {len(photos['val'])} of them.",
        "stream": f"## A stream of listings\nTest photos. {settings.radius_bits} bits; at most "
        f"{settings.most_differences} heads may differ.",
        "worker": "## The whole worker",
        "copies": "## One change among many near copies\nDrawn hashes, at most 20 bits apart. Each change is "
        "settled alone.",
    }
    body = "\n\n".join(f"{titles[part]}\n\n{made_of[part]()}" for part in chosen.part or PARTS)
    command = f"python -m benchmarks.listings.products --data DATA --kept FOLDER --photos {chosen.photos}"
    write_page(page("Products: near copies under one id", command, versions("numpy", "faiss-cpu"), body), chosen.out)


if __name__ == "__main__":
    main(sys.argv[1:])
