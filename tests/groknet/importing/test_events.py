from __future__ import annotations

import hashlib

from groknet.importing.events import EventMaker, Imported, import_events
from groknet.importing.product import LeftOut, Product, Refused
from schemas.events import Price, decode_event, encode_event
from workers.intake import IntakeSettings

NOW = 1_790_000_000_000_000
MUG = Product(
    place="line 7",
    id="mug 1",
    title="Mug",
    category="Kitchen",
    photos=("https://a.example/1.jpg", "http://a.example/2.jpg", "https://a.example/1.jpg", "ftp://a.example/3.jpg"),
    price=Price(amount="12.50", currency="EUR"),
    state="preorder",
)


def made(maker: EventMaker, product: Product) -> Imported:
    one = maker.make(product)
    assert isinstance(one, Imported)
    return one


def test_a_product_becomes_the_event_that_it_says() -> None:
    one = made(EventMaker(prefix="acme/", seller_id="s1", event_time=NOW), MUG)
    event = decode_event(encode_event(one.event))
    digest = hashlib.sha256(b"acme/mug 1").hexdigest()[:8]
    assert event.listing_id == f"acme/mug_1-{digest}"
    assert (event.title, event.category, event.state, event.seller_id) == ("Mug", "Kitchen", "preorder", "s1")
    assert event.price == Price(amount="12.50", currency="EUR")
    assert [image.url for image in event.images] == ["https://a.example/1.jpg"]
    assert [(note.field, "allow_http_hosts" in note.why) for note in one.notes] == [("photo", True), ("photo", False)]


def test_the_intake_decides_what_can_be_fetched() -> None:
    intake = IntakeSettings(allow_http_hosts=("a.example",))
    one = made(EventMaker(event_time=NOW, intake=intake), MUG)
    assert [image.url for image in one.event.images] == ["https://a.example/1.jpg", "http://a.example/2.jpg"]


def test_the_same_product_makes_the_same_event_and_a_changed_one_another() -> None:
    maker = EventMaker(event_time=NOW)
    changed = Product(place="line 9", id="mug 1", title="Mug!", category="Kitchen", photos=MUG.photos)
    assert made(maker, MUG).event == made(maker, MUG).event
    assert made(maker, MUG).event.event_id != made(maker, changed).event.event_id
    assert made(maker, MUG).event.images == made(maker, changed).event.images


def test_what_cannot_become_a_listing_is_refused_by_its_field() -> None:
    maker = EventMaker(event_time=NOW)
    bare = Product(place="line 1", id="1", title=None, category=None, photos=())
    local = Product(place="line 2", id="2", title=None, category=None, photos=("https://u:p@a.example/x",))
    seller = EventMaker(event_time=NOW, seller_id="no spaces please")
    found = [maker.make(bare), maker.make(local), seller.make(MUG)]
    assert [(one.place, one.field) for one in found if isinstance(one, Refused)] == [
        ("line 1", "photo"),
        ("line 2", "photo"),
        ("line 7", "seller_id"),
    ]


def test_long_texts_are_cut_to_what_an_event_takes() -> None:
    long = Product(place="line 1", id="x" * 500, title="t" * 5_000, category="c" * 500, photos=("https://a.example/1",))
    event = made(EventMaker(event_time=NOW), long).event
    assert (len(event.title or ""), len(event.category or ""), len(event.listing_id)) == (1024, 256, 128)


def test_an_id_counts_once_in_a_feed() -> None:
    entries = iter([MUG, LeftOut("line 8", "draft"), MUG, Refused("line 10", "id", "missing")])
    found = list(import_events(entries, EventMaker(event_time=NOW)))
    assert [type(one).__name__ for one in found] == ["Imported", "LeftOut", "Refused", "Refused"]
    assert isinstance(found[2], Refused)
    assert found[2].field == "id"


def test_text_that_cannot_be_written_is_refused_by_its_field() -> None:
    half = "Mug \ud83d"
    photos = ("https://a.example/1.jpg",)
    maker = EventMaker(event_time=NOW)
    odd = [
        Product(place="line 1", id=half, title=None, category=None, photos=photos),
        Product(place="line 2", id="2", title=half, category=None, photos=photos),
        Product(place="line 3", id="3", title=None, category=half, photos=photos),
        Product(place="line 4", id="4", title=None, category=None, photos=("https://a.example/\ud83d",)),
    ]
    found = [maker.make(product) for product in odd]
    found.append(EventMaker(event_time=NOW, seller_id="s\udcff").make(MUG))
    assert [(one.place, one.field) for one in found if isinstance(one, Refused)] == [
        ("line 1", "id"),
        ("line 2", "title"),
        ("line 3", "category"),
        ("line 4", "photo"),
        ("line 7", "seller_id"),
    ]
