"""Exports judgements as training data: pairs of photos that show one product or not, and photos with labels.

Photos of searches are the kept copies (320 pixels); photos of listings are the store's thumbnails. What was judged and
has no photo any more is counted and left out.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engines.files import making_folder
from engines.pixels import picture_kind
from schemas.manifest import Manifest
from schemas.predictions import StoredListing
from workers.search.kept.ledger import Judgement, KeptSearch, Ledger
from workers.stores import Store

_PAIR_COLUMNS = ("query", "result", "same", "listing_id", "image_id", "epoch")
_PHOTOS = "photos"


@dataclass
class Exported:
    """What was written, and what was left out by reason."""

    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def export_judgements(ledger: Ledger, store: Store, manifest: Manifest, out: Path) -> Exported:
    """Write the folder `out`, which must not exist.

    `pairs.csv`: two photos and whether they show the same product (1 or 0). `labels.csv`, which training reads: photos
    of searches with the labels that people confirmed, one column for each head's column, and with the listing that they
    confirmed in the column `product`; photos of these listings as well. `wrong.csv`: photos with labels that people
    refused.

    Raises:
        FileExistsError: `out` exists.
    """
    done = Exported()
    searches = {one.hash: one for one in ledger.searches(manifest.epoch) if one.photo}
    columns = {head.id: head.column for head in manifest.heads}
    values = {(head.id, label.id): label.value for head in manifest.heads for label in head.labels}
    with making_folder(out) as folder:
        writer = _Photos(folder, store, searches, done)
        rows: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        pairs, wrong = [], []
        for one in ledger.judgements(manifest.epoch):
            query = writer.query(one)
            if query is None:
                continue
            if one.listing_id:
                for image_id, result in writer.results(one):
                    pairs.append((query, result, int(one.right), one.listing_id, image_id, one.epoch))
                    done.counts["pairs"] += 1
                    if one.right:
                        rows[query]["product"].add(one.listing_id)
                        rows[result]["product"].add(one.listing_id)
            elif (one.head, one.label) not in values:
                done.left_out["label_not_in_bundle"] += 1
            elif one.right:
                rows[query][columns[one.head]].add(values[one.head, one.label])
                done.counts["labels"] += 1
            else:
                wrong.append((query, columns[one.head], values[one.head, one.label]))
                done.counts["wrong_labels"] += 1
        _write(folder / "pairs.csv", _PAIR_COLUMNS, pairs)
        _write(folder / "wrong.csv", ("path", "column", "label"), wrong)
        _write_labels(folder / "labels.csv", rows, searches)
        done.counts["photos"] = writer.count
    return done


class _Photos:
    """Writes each photo once."""

    def __init__(self, folder: Path, store: Store, searches: Mapping[str, KeptSearch], done: Exported) -> None:
        self._folder, self._store, self._searches, self._done = folder, store, searches, done
        self._written: dict[tuple[str, str], str | None] = {}
        self.count = 0

    def query(self, one: Judgement) -> str | None:
        """The path of the photo that was searched with."""
        if not one.hash:
            path = next((path for _, path in self._of_listing(one.query_listing, "")), None)
            if path is None:
                self._none("query")
            return path
        search = self._searches.get(one.hash)
        if search is None or search.photo is None:
            self._none("query")
            return None
        return self._put(("", one.hash), f"{_PHOTOS}/search-{one.hash[:32]}.webp", search.photo)

    def results(self, one: Judgement) -> list[tuple[str, str]]:
        """(image id, path) of the photos of the listing that was judged: the one that was named, or its first."""
        found = list(self._of_listing(one.listing_id, one.image_id))
        if not found:
            self._none("listing")
        return found

    def _of_listing(self, listing_id: str, image_id: str) -> Iterator[tuple[str, str]]:
        stored = self._store.get([listing_id]).get(listing_id)
        if not isinstance(stored, StoredListing) or not stored.images:
            return
        name = image_id or stored.images[0].image_id
        if (listing_id, name) not in self._written:
            data = self._store.thumbnail(listing_id, name)
            place = f"{_PHOTOS}/listing-{len(self._written)}"
            kept = None if data is None else self._put(None, f"{place}.{picture_kind(data)}", data)
            self._written[listing_id, name] = kept
        path = self._written[listing_id, name]
        if path is not None:
            yield name, path

    def _put(self, key: tuple[str, str] | None, place: str, data: bytes) -> str:
        if key is None or key not in self._written:
            (self._folder / place).parent.mkdir(exist_ok=True)
            (self._folder / place).write_bytes(data)
            self.count += 1
            if key is not None:
                self._written[key] = place
        return place

    def _none(self, what: str) -> None:
        self._done.left_out[f"no_photo_of_{what}"] += 1


def _write(path: Path, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _write_labels(path: Path, rows: Mapping[str, Mapping[str, set[str]]], searches: Mapping[str, KeptSearch]) -> None:
    """One row for each photo. Two words for one single-label column contradict each other; then neither is written."""
    boxes = {f"{_PHOTOS}/search-{digest[:32]}.webp": one.box.replace(",", " ") for digest, one in searches.items()}
    columns = sorted({column for labels in rows.values() for column in labels})
    table = [
        (
            photo,
            "train",
            boxes.get(photo, ""),
            *(next(iter(found)) if len(found := labels.get(column, set())) == 1 else "" for column in columns),
        )
        for photo, labels in sorted(rows.items())
    ]
    _write(path, ("path", "split", "box", *columns), table)
