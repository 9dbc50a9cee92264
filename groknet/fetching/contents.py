"""What a list or an answer holds: further addresses (a list or a sitemap), a photo, or a web page with products.

Source of the sitemaps: sitemaps.org protocol 0.9, and Google's extension for images.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.parsers import expat

import msgspec

from groknet.importing.json_ld import read_page
from groknet.importing.product import Product, Refused
from groknet.submitting.photo_events import looks_like_photo
from schemas.events import ListingEvent

MOST_BYTES = 50 * 1024 * 1024
"""The largest answer, unpacked: what a sitemap may have."""
_SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
_IMAGES = "http://www.google.com/schemas/sitemap-image/1.1"


class NotUsable(ValueError):
    """The content is nothing that we take. The text says what to give."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address to fetch, and what is known about what is there. `product` is an id that is unique among all hosts."""

    url: str
    product: str = ""
    category: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What an answer holds. `kind` of a photo is its suffix as well, in `suffix`."""

    kind: Literal["photo", "page", "list"]
    suffix: str = ""
    addresses: tuple[Address, ...] = ()
    products: tuple[Product, ...] = ()


def look_at(data: bytes, url: str) -> Found:
    """What the answer of an address holds.

    Raises:
        NotUsable: it is neither a photo, a page with products, nor a sitemap.
    """
    if looks_like_photo(data[:64]):
        return Found("photo", suffix=_suffix(data))
    data = _unpacked(data)
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<urlset" in start or b"<sitemapindex" in start:
        return Found("list", addresses=tuple(sitemap(data)))
    if start.startswith(b"<"):
        return _page(data, url)
    raise NotUsable("neither a photo, a web page, nor a sitemap")


def read_list(data: bytes) -> Iterator[Address]:
    """The addresses of a list: a sitemap, lines of addresses, or lines of listing events (as `groknet import --out`
    writes them).

    Raises:
        NotUsable: a line is none of these.
    """
    data = _unpacked(data)
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<"):
        yield from sitemap(data)
        return
    decoder = msgspec.json.Decoder(ListingEvent)
    for number, raw in enumerate(io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        if line.startswith(b"{"):
            try:
                event = decoder.decode(line)
            except msgspec.DecodeError as error:
                raise NotUsable(f"line {number}: no listing event ({error})") from None
            for image in event.images:
                if image.url:
                    yield Address(image.url, event.listing_id, event.category or "", event.title or "")
            continue
        text = line.decode("utf-8", "replace")
        if not text.lower().startswith(("https://", "http://")):
            raise NotUsable(f"line {number}: {text[:60]!r} is no address; write one https:// address a line")
        yield Address(text)


def sitemap(data: bytes) -> Iterator[Address]:
    """The addresses of a sitemap, of its photos, and of further sitemaps. Raises NotUsable if it cannot be read."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    found: list[str] = []
    text: list[str] = []
    names = {f"{_SITEMAP} loc", f"{_IMAGES} loc", "loc"}

    def start(name: str, _: object) -> None:
        text.clear()

    def end(name: str) -> None:
        if name in names and (address := "".join(text).strip()):
            found.append(address)
        text.clear()

    def entity(*_: object) -> None:
        raise NotUsable("the sitemap declares an entity, which is not read")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = text.append, entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise NotUsable(f"the sitemap is not well-formed XML (line {error.lineno})") from None
    except (LookupError, UnicodeError) as error:  # of the encoding that it names
        raise NotUsable(f"the encoding of the sitemap cannot be read ({error})") from None
    return (Address(url) for url in found)


def _page(data: bytes, url: str) -> Found:
    text = io.StringIO(data.decode("utf-8", "replace"))
    found = list(read_page(text, None, url))
    products = tuple(one for one in found if isinstance(one, Product))
    if not products:
        raise NotUsable(next(one.why for one in found if isinstance(one, Refused)))
    return Found("page", products=products)


def _unpacked(data: bytes) -> bytes:
    """The bytes without gzip. Raises NotUsable if they are damaged or too many."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MOST_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise NotUsable("a gzip file that is damaged or cut off") from None
    if len(plain) > MOST_BYTES:
        raise NotUsable(f"a gzip file of more than {MOST_BYTES} bytes")
    return plain


def _suffix(data: bytes) -> str:
    for start, suffix in ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"GIF8", ".gif")):
        if data.startswith(start):
            return suffix
    return ".avif" if data[8:12] in (b"avif", b"avis") else ".heic" if data[4:8] == b"ftyp" else ".img"
