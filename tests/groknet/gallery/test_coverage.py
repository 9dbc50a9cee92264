from __future__ import annotations

from engines.words import Phrases
from groknet.gallery.coverage import coverage, heads_of, listings_by_category
from schemas.events import ListingEvent
from schemas.hashes import HashHex
from schemas.manifest import Label, Manifest, load_manifest
from schemas.predictions import ImageRow, Prediction, RemovalMarker, StoredListing, Summary
from tests.engines.tiny_bundle import write_tiny_bundle

HASH: HashHex = "0" * 64


def manifest(tmp_path) -> Manifest:
    write_tiny_bundle(tmp_path / "bundle")
    return load_manifest(tmp_path / "bundle")


def listing(name: str, title: str | None, category: str | None, photos: int, **offered: bool) -> StoredListing:
    predictions = {head: [Prediction(label="red", probability=0.9, offered=yes)] for head, yes in offered.items()}
    event = ListingEvent(event_id="e", listing_id=name, event_time=1, type="updated", title=title, category=category)
    return StoredListing(
        listing_id=name,
        event_time=1,
        model_version="m",
        epoch="0123456789ab",
        event=event,
        summary=Summary(status="complete", predictions=predictions, bad_images=[]),
        images=[ImageRow(image_id=str(n), predictions={}, hash=HASH) for n in range(photos)],
        stored_at=1,
    )


def test_listings_are_counted_by_what_covers_them(tmp_path) -> None:
    listings = [
        listing("1", "A RED mug, nearly new", "mugs", 2, colour=True),
        listing("2", "Mug", "mugs", 1, colour=True, words=False),
        listing("3", "Something old", "mugs", 0),
        listing("4", "reddish", None, 1, colour=False),
        RemovalMarker(listing_id="5", event_time=1),
    ]
    found = coverage(listings, manifest(tmp_path))
    whole = found.whole
    assert (whole.listings, whole.photos, whole.with_photo) == (4, 4, 3)
    assert (whole.by_photo, whole.by_title, whole.by_either) == (2, 2, 3)
    assert {name: (one.listings, one.by_photo, one.by_title) for name, one in found.categories.items()} == {
        "mugs": (3, 2, 2),
        "(no category)": (1, 0, 0),
    }
    assert {name: (one.by_photo, one.by_title) for name, one in found.heads.items()} == {
        "colour": (2, 1),
        "words": (0, 2),
    }
    assert listings_by_category(found) == {"mugs": 2, "(no category)": 1}


def test_labels_are_found_as_whole_words_in_any_language(tmp_path) -> None:
    made = manifest(tmp_path)
    head = made.heads[0]
    label = Label(id="dining_table", index=0, value="Dining table", display={"de": "Esstisch", "ja": "食卓"})
    short = Label(id="xl", index=1, value="XL")
    phrases = Phrases(
        type(made)(
            **{f: getattr(made, f) for f in made.__struct_fields__}
            | {
                "heads": [
                    type(head)(**{f: getattr(head, f) for f in head.__struct_fields__} | {"labels": [label, short]})
                ]
            }
        )
    )
    assert heads_of("Oak dining TABLE, 2 m", phrases) == {"colour"}
    assert heads_of("Esstisch aus Eiche", phrases) == {"colour"}
    assert heads_of("素敵な食卓です", phrases) == {"colour"}
    assert heads_of("two dining tables", phrases) == {"colour"}
    assert heads_of("dining chair and table", phrases) == set()
    assert heads_of("Shirt XL", phrases) == set()
    assert heads_of("ﬁne DINING TABLE", phrases) == {"colour"}
