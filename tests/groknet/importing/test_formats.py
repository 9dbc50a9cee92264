"""Feeds written by hand to the documentation of each format, odd but valid, against values written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from groknet.cli.exits import CommandError
from groknet.importing.formats import read_feed
from groknet.importing.product import Entry, LeftOut, Product, Refused

FEEDS = Path(__file__).parent / "feeds"
KITCHEN, WOO = "https://img.kitchen.example", "https://woo.example"
SHOPIFY, WEAR = "https://cdn.shopify.example", "https://cdn.wear.example"

# (line, id, title, category, photos, price, state), ("refused", line, field) or ("left out", line)
EXPECTED: dict[str, list[tuple[object, ...]]] = {
    "google_rss.xml": [
        (
            9,
            "MUG-1",
            'Mug <blue> & "white"',
            "Home & Garden > Kitchen & Dining > Tableware",
            [f"{KITCHEN}/mug.jpg?w=800&h=800", f"{KITCHEN}/mug,2.jpg", f"{KITCHEN}/mug-3.jpg"],
            "12.50 EUR",
            "active",
        ),
        (
            27,
            "pan 2",
            "The title for shoppers",
            "Kitchen > Pans",
            [f"{KITCHEN}/pan.png"],
            "20 USD",
            "out_of_stock",
        ),
        ("refused", 43, "id"),
        (47, "LAMP", None, None, [f"{KITCHEN}/lamp.jpg"], None, "active", "price", "availability"),
    ],
    "google_atom.xml": [
        (9, "1", "Stuhl, grün", None, ["https://moebel.example/stuhl.jpg"], "15.00 EUR", "preorder"),
        (
            18,
            "tag:moebel.example,2026:2",
            "Tisch Größe 2",
            None,
            ["https://moebel.example/tisch.jpg"],
            None,
            "backorder",
        ),
    ],
    "google_tabs.txt": [
        (
            2,
            "A/1",
            'Bag "Tokyo", large',
            "Bags > Totes",
            [
                "https://bags.example/1.jpg",
                "https://bags.example/1,b.jpg",
                "https://bags.example/1c.jpg",
                "http://bags.example/1d.jpg",
            ],
            "120.5 JPY",
            "active",
        ),
        (4, "A/2", '5" pipe', None, ["https://bags.example/2.jpg"], None, "active"),
        ("refused", 6, ""),
        (7, "A/4", "Last", None, ["https://bags.example/4.jpg"], "0.99 EUR", "active"),
    ],
    "google_utf16.tsv": [
        (2, "42", "红色 杯子", "家居 > 杯子", ["https://img.example/%E6%9D%AF.jpg"], "25 CNY", "active"),
        (3, "43", "кружка", None, ["https://img.example/43.jpg"], None, "active"),
    ],
    "google_commas.csv": [
        (
            2,
            "1",
            "Shirt, M",
            None,
            ["https://wear.example/1.jpg", "https://wear.example/1b.jpg", "https://wear.example/1c.jpg"],
            "9.99 GBP",
            "active",
        ),
        ("refused", 3, "title"),
        (4, "3", "Sock", None, ["https://wear.example/3.jpg"], None, "active", "price"),
        (5, "1", "Shirt again", None, ["https://wear.example/1.jpg"], "9.99 GBP", "active"),
    ],
    "woocommerce.csv": [
        (
            2,
            "woo-vneck",
            "V-Neck T-Shirt",
            "Clothing > Tshirts",
            [f"{WOO}/vneck-tee-2.jpg", f"{WOO}/vnech-tee-green-1.jpg", f"{WOO}/vnech-tee-blue-1.jpg"],
            None,
            "active",
        ),
        (4, "45", "Album, live", "Music, live > Rock", [f"{WOO}/album,1.jpg"], "15 EUR", "out_of_stock"),
        (5, "woo-vneck-red", "V-Neck T-Shirt - Red", None, [f"{WOO}/vneck-red.jpg"], "20 EUR", "backorder"),
        ("left out", 6),
        ("left out", 7),
        ("left out", 8),
        (9, "wp-pennant", "WordPress Pennant", "Decor", [f"{WOO}/pennant.jpg"], "11.05 EUR", "active"),
        (10, "no-photo", "-20 % Cap", "Clothing", [], "16 EUR", "active"),
    ],
    "shopify_old.csv": [
        (
            2,
            "chain-bracelet",
            "7 Shakra Bracelet",
            "Apparel & Accessories > Jewelry > Bracelets",
            [f"{SHOPIFY}/front.jpg?v=1", f"{SHOPIFY}/back.jpg", f"{SHOPIFY}/side.jpg", f"{SHOPIFY}/blue.jpg"],
            "42.99 EUR",
            "active",
        ),
        (6, "leather-anchor", "Leather Anchor", "Bracelet", [f"{SHOPIFY}/anchor.jpg"], "69.99 EUR", "out_of_stock"),
        ("left out", 7),
        ("left out", 8),
        (9, "gift-card", "Gift card", None, [], "25.00 EUR", "active"),
    ],
    "shopify_new.csv": [
        (
            2,
            "tee-one",
            'Tee "One", white',
            "Apparel & Accessories > Clothing > Shirts & Tops",
            [f"{WEAR}/tee.png", f"{WEAR}/tee-2.png", f"{WEAR}/tee.png"],
            "12.00 EUR",
            "active",
        ),
        (4, "tasse-é", "Tasse", "Mugs", [f"{WEAR}/tasse.jpg"], "7.00 EUR", "active", "image_position"),
    ],
    "schema_graph.jsonld": [
        (
            1,
            "1001",
            "Kettle",
            "Kitchen > Kettles",
            ["https://shop.example/img/kettle.jpg", "https://cdn.shop.example/kettle-2.jpg"],
            "19.9 EUR",
            "active",
        ),
        (1, "G1-red", "Scarf, red", "Scarves", ["https://shop.example/red.jpg"], "30.00 USD", "out_of_stock"),
        (1, "G1-blue", "Scarf", "Scarves", ["https://shop.example/blue.jpg"], "31 USD", "active"),
    ],
    "schema_lines.ndjson": [
        (1, "isbn:978-3", "Atlas \N{GRINNING FACE}", None, ["https://books.example/atlas.webp"], None, "active"),
        (3, "4006381333931", "Pen", None, ["https://books.example/pen.jpg"], "1.50 EUR", "preorder"),
        ("refused", 4, "sku"),
        ("refused", 5, "@type"),
        (6, "rel", "Relative", None, [], None, "active", "image"),
    ],
    "page.html": [
        (5, "X-9", "Drill &amp; bit", "Tools", ["https://tools.example/drill.jpg"], "99 EUR", "active"),
        ("refused", 10, ""),
    ],
}


def plain(entry: Entry) -> tuple[object, ...]:
    """An entry as the table above writes it."""
    line = int(entry.place.removeprefix("line "))
    match entry:
        case Refused():
            return "refused", line, entry.field
        case LeftOut():
            return "left out", line
        case Product(price=price):
            shown = f"{price.amount} {price.currency}" if price else None
            fields = (entry.id, entry.title, entry.category, list(entry.photos), shown, entry.state)
            return line, *fields, *(note.field for note in entry.notes)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_feed_of_each_format_is_read_rightly(name: str) -> None:
    assert [plain(entry) for entry in read_feed(FEEDS / name, currency="EUR")] == EXPECTED[name]


def test_every_feed_has_a_table() -> None:
    assert {path.name for path in FEEDS.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"listing_id": "1", "event_time": 1}', "groknet submit"),
        ("<?xml version='1.0'?><urlset></urlset>", "groknet gallery fetch"),
        ("Titel;Bild\n", "columns in English"),
        ("PK\x03\x04zip", "unpack it"),
        ("", "columns in English"),
    ],
)
def test_what_is_no_feed_is_refused_with_the_remedy(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "feed"
    file.write_text(text)
    with pytest.raises(CommandError, match=why):
        list(read_feed(file))


def test_a_missing_file_and_an_unknown_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        list(read_feed(tmp_path / "none.xml"))
    with pytest.raises(CommandError, match="--encoding klingon"):
        list(read_feed(FEEDS / "shopify_old.csv", encoding="klingon"))


@pytest.mark.parametrize("name", ["google_rss.xml", "google_tabs.txt", "page.html", "shopify_old.csv"])
@pytest.mark.parametrize("encoding", ["klingon", "hex", "a\0b"])
def test_an_encoding_that_is_none_is_named_for_each_format(name: str, encoding: str) -> None:
    with pytest.raises(CommandError, match="--encoding"):
        list(read_feed(FEEDS / name, encoding=encoding))


def test_numbers_of_shopify_that_python_does_not_read_are_noted(tmp_path: Path) -> None:
    """`²` is a digit to `str.isdigit`, and `int` refuses it."""
    file = tmp_path / "feed.csv"
    columns = "Handle,Title,Image Src,Image Position,Variant Price,Variant Inventory Qty,Variant Inventory Tracker"
    file.write_text(f"{columns}\nmug,Mug,https://a.example/1.jpg,²,5,²,shopify\nmug,,https://a.example/2.jpg,1,,,\n")
    (entry,) = read_feed(file, currency="EUR")
    assert isinstance(entry, Product)
    assert entry.photos == ("https://a.example/2.jpg", "https://a.example/1.jpg")
    assert (entry.state, [note.field for note in entry.notes]) == ("active", ["image_position"])


def test_a_named_encoding_reads_what_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "feed.csv"
    file.write_bytes("id,title,image_link\n1,Café,https://a.example/1.jpg\n".encode("cp1252"))
    (wrong,) = read_feed(file)
    assert isinstance(wrong, Refused)
    assert wrong.field == "title"
    (right,) = read_feed(file, encoding="cp1252")
    assert isinstance(right, Product)
    assert right.title == "Café"
