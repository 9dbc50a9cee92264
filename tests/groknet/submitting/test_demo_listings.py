"""What the demo prints about a listing: what is known, the most useful first, or that nothing is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from groknet.submitting.demo_listings import describe, event_of, products
from groknet.submitting.outcomes import Outcome
from schemas.manifest import Head, Label, Manifest
from schemas.predictions import Prediction, StoredListing, Summary
from tests.engines.tiny_bundle import write_applying_bundle
from workers.search.find.labels.usefulness import Usefulness


def head(id_: str, column: str, domain: str, *labels: str) -> Head:
    found = [Label(id=label.lower(), index=i, value=label) for i, label in enumerate(labels)]
    return Head(id=id_, kind="softmax", column=column, datasets=["x"], output=id_, labels=found, domain=domain)


HEADS = [
    head("colour", "colour", "shop", "Red", "Blue"),
    head("object", "imagenet", "", "Tench", "Crane"),
    head("type", "category", "shop", "Mug", "Vase"),
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return msgspec.structs.replace(write_applying_bundle(Path(tmp_path_factory.mktemp("bundle"))), heads=HEADS)


@pytest.mark.parametrize(
    ("sure", "applies", "line"),
    [
        ("colour type object", "colour object type", "type Mug 0.90 · object Tench 0.90 · colour Red 0.90"),
        ("colour type", "colour object type", "type Mug 0.90 · colour Red 0.90 · 1 unsure"),
        ("object", "object", "object Tench 0.90"),
        ("", "object", "nothing known for sure · perhaps object Tench 0.20"),
        ("", "", "nothing known for sure"),
    ],
)
def test_a_line_says_what_is_known_or_that_nothing_is(manifest, sure, applies, line):
    said = {
        one.id: [Prediction(label=one.labels[0].id, probability=p, offered=p > 0.5)]
        for one in HEADS
        for p in [0.9 if one.id in sure.split() else 0.2]
    }
    (product,) = products(1)
    event = event_of(product, b"photo")
    assert event.category == product.category
    entry = StoredListing(
        listing_id=event.listing_id,
        event_time=event.event_time,
        model_version=manifest.model_version,
        epoch=manifest.epoch,
        event=event,
        summary=Summary(status="complete", predictions=said, bad_images=[], applies=applies.split()),
        images=[],
        stored_at=0,
    )
    outcome = Outcome(listing_id=event.listing_id, status="searchable")
    text = describe(manifest, Usefulness(manifest), entry, outcome, "1/1").plain
    assert text.split("\n")[1:] == ["        " + line]
