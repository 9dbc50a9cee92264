from __future__ import annotations

import gzip

import pytest

from groknet.fetching.contents import MOST_BYTES, Address, NotUsable, look_at, read_list
from schemas.events import ImageRef, ListingEvent, encode_event

SITEMAP = b"""<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
        xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url><loc> https://shop.example/p?a=1&amp;b=2 </loc><lastmod>2026-01-01</lastmod>
    <image:image><image:loc>https://cdn.example/1.jpg</image:loc></image:image></url>
  <url><loc>https://shop.example/q</loc></url>
</urlset>"""
INDEX = b"""<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
<sitemap><loc>https://shop.example/1.xml.gz</loc></sitemap></sitemapindex>"""
URLS = ["https://shop.example/p?a=1&b=2", "https://cdn.example/1.jpg", "https://shop.example/q"]


def test_lists_of_every_kind() -> None:
    assert [one.url for one in read_list(SITEMAP)] == URLS
    assert [one.url for one in read_list(gzip.compress(SITEMAP))] == URLS
    parts = gzip.compress(b"https://a.example/1\n") + gzip.compress(b"https://a.example/2\n")
    assert len(list(read_list(parts))) == 2
    assert [one.url for one in read_list(INDEX)] == ["https://shop.example/1.xml.gz"]
    lines = b"\xef\xbb\xbf# a comment\r\nhttps://a.example/1.jpg\r\n\r\n  HTTP://b.example/2  \n"
    assert list(read_list(lines)) == [Address("https://a.example/1.jpg"), Address("HTTP://b.example/2")]
    event = ListingEvent(
        event_id="e",
        listing_id="acme/1",
        event_time=1,
        type="updated",
        category="Mugs",
        title="Mug",
        images=[ImageRef(image_id="1", url="https://a.example/1.jpg"), ImageRef(image_id="2", data=b"x")],
    )
    assert list(read_list(encode_event(event))) == [Address("https://a.example/1.jpg", "acme/1", "Mugs", "Mug")]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"shop.example/1.jpg", "line 1"),
        (b"https://a.example/1\n{", "line 2"),
        (b"<urlset><url><loc>https://a.example/1</loc>", "well-formed"),
        (b'<!DOCTYPE u [<!ENTITY a "b">]><urlset></urlset>', "entity"),
        (gzip.compress(b"https://a.example/1", mtime=0)[:-9], "cut off"),
        (gzip.compress(b" " * (MOST_BYTES + 1), mtime=0), "more than"),
    ],
)
def test_what_is_no_list_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(NotUsable, match=why):
        list(read_list(data))


def test_answers_are_known_by_their_bytes() -> None:
    assert (look_at(b"\xff\xd8\xff\xe0" + b"0" * 99, "u").kind, look_at(b"\x89PNG\r\n\x1a\n", "u").suffix) == (
        "photo",
        ".png",
    )
    assert [one.url for one in look_at(SITEMAP, "u").addresses] == URLS
    page = b"""<!DOCTYPE html><script type="application/ld+json">
    {"@type": "Product", "sku": "7", "name": "Mug", "image": "/mug.jpg"}</script>"""
    (product,) = look_at(page, "https://shop.example/p/7").products
    assert (product.id, product.photos) == ("7", ("https://shop.example/mug.jpg",))


@pytest.mark.parametrize("data", [b"<html>nothing</html>", b"plain text", b"%PDF-1.7", b"{}"])
def test_what_is_neither_photo_nor_products_is_refused(data: bytes) -> None:
    with pytest.raises(NotUsable):
        look_at(data, "https://shop.example/")


def test_a_page_whose_products_cannot_be_used_says_why() -> None:
    page = b'<html><script type="application/ld+json">{"@type": "Product", "name": "Mug %s"}</script></html>'
    for odd, why in ((b"", "missing; each product needs a sku"), (b'"', "cannot be read: not JSON")):
        with pytest.raises(NotUsable, match=why):
            look_at(page % odd, "https://a.example/p")
    with pytest.raises(NotUsable, match="no HTML that can be read"):
        look_at(b"<html><![foo bar]>", "https://a.example/p")
