from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from groknet.gallery.judgements import export_judgements
from schemas.events import ImageRef, ListingEvent
from schemas.manifest import load_manifest
from schemas.predictions import ImageRow, StoredListing, Summary
from tests.engines.tiny_bundle import write_tiny_bundle
from training.readers import read
from workers.search.kept.ledger import Judgement, KeptSearch, Ledger
from workers.stores import Store, build_store

QUERY, OTHER, UNKEPT = "a" * 64, "b" * 64, "c" * 64


def picture(colour: str, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(file, kind)
    return file.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Listings l/1 and l/2 of two photos each, with thumbnails: as they are stored now, and by older versions."""
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as made:
        for number in (1, 2):
            names = ("front", "back")
            event = ListingEvent(
                event_id="e",
                listing_id=f"l/{number}",
                event_time=1,
                type="updated",
                images=[ImageRef(image_id=name, data=b"x") for name in names],
            )
            stored = StoredListing(
                listing_id=event.listing_id,
                event_time=1,
                model_version="m",
                epoch="0123456789ab",
                event=event,
                summary=Summary(status="complete", predictions={}, bad_images=[]),
                images=[ImageRow(image_id=name, predictions={}, hash="0" * 64) for name in names],
                stored_at=1,
            )
            made.write(stored, {"front": picture("red", "JPEG"), "back": picture("blue", "WEBP")})
        yield made


def test_judgements_become_pairs_and_a_data_set_that_training_reads(tmp_path: Path, store: Store) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    manifest = load_manifest(tmp_path / "bundle")
    with closing(Ledger(tmp_path / "kept.db", days=30, most=100, clock=lambda: 1_790_000_000)) as ledger:
        for code, box in ((QUERY, "0.25,0,1,1"), (OTHER, "")):
            kept = {
                "at": 1_790_000_000,
                "epoch": manifest.epoch,
                "close": True,
                "likeness": 0.9,
                "photo": picture("green", "WEBP"),
            }
            ledger.keep(KeptSearch(hash=code, box=box, **kept))  # type: ignore[arg-type]

        def judge(right: bool, epoch: str = manifest.epoch, **fields: str) -> None:
            ledger.judge(Judgement(at=1_790_000_000, epoch=epoch, right=right, **fields))

        judge(True, hash=QUERY, listing_id="l/1", image_id="back")
        judge(False, hash=QUERY, listing_id="l/2")
        judge(True, hash=QUERY, head="colour", label="red")
        judge(False, hash=QUERY, head="words", label="old")
        judge(True, hash=OTHER, head="words", label="new")
        judge(True, query_listing="l/1", listing_id="l/2")
        judge(True, hash=UNKEPT, listing_id="l/1")
        judge(True, hash=OTHER, listing_id="l/gone")
        judge(True, hash=OTHER, head="colour", label="beige")
        judge(True, epoch="another", hash=OTHER, listing_id="l/1")
        done = export_judgements(ledger, store, manifest, tmp_path / "out")
    assert done.counts == {"pairs": 3, "labels": 2, "wrong_labels": 1, "photos": 5}
    assert done.left_out == {"no_photo_of_query": 1, "no_photo_of_listing": 1, "label_not_in_bundle": 1}
    with (tmp_path / "out" / "pairs.csv").open() as file:
        pairs = [(row["same"], row["listing_id"], row["image_id"]) for row in csv.DictReader(file)]
    assert pairs == [("1", "l/1", "back"), ("0", "l/2", "front"), ("1", "l/2", "front")]
    found = read("csv", tmp_path / "out")
    assert found.skipped == {}
    query = next(row for row in found.rows if row["path"] == f"photos/search-{QUERY[:32]}.webp")
    assert (query["colour"], query["product"], query["box"]) == ("red", "l/1", "0.25 0 1 1")
    assert sorted(row.get("product", "") for row in found.rows) == ["", "l/1", "l/1", "l/2", "l/2"]
    for row in found.rows:
        with Image.open(tmp_path / "out" / row["path"]) as image:
            assert image.format == row["path"].rpartition(".")[2].upper()
    assert {row["path"].rpartition(".")[2] for row in found.rows} == {"jpeg", "webp"}
