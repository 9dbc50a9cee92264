"""Recognises the format of a feed by its first bytes, and reads it."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from groknet.cli.exits import CommandError, Exit
from groknet.importing.google_table import read_google_table
from groknet.importing.google_xml import read_google_xml
from groknet.importing.json_ld import read_json_ld, read_page
from groknet.importing.opened import HEAD_BYTES, FeedDamaged, opened, text_of
from groknet.importing.product import Entry, Refused
from groknet.importing.rows import header_of
from groknet.importing.shopify import read_shopify
from groknet.importing.woocommerce import read_woocommerce

Format = Literal["google-xml", "google-table", "json-ld", "html", "woocommerce", "shopify"]
FORMATS: tuple[str, ...] = get_args(Format)
_TABLES = {"google-table": read_google_table, "woocommerce": read_woocommerce, "shopify": read_shopify}


def read_feed(
    path: Path, *, kind: Format | None = None, currency: str | None = None, encoding: str | None = None
) -> Iterator[Entry]:
    """The products of a feed, in its order, with what is refused and left out.

    Args:
        path: the file; it may be compressed with gzip.
        kind: its format, by default the one that it looks like.
        currency: of prices that name none, such as EUR.
        encoding: of its text if it has no byte-order mark, by default UTF-8, and for XML what the file says.

    Raises:
        CommandError: no such file, a format that is not known, or an unknown encoding.
    """
    _check_encoding(encoding)
    try:
        with opened(path) as feed:
            kind = kind or _recognise(path, feed.peek(HEAD_BYTES)[:HEAD_BYTES])
            if kind == "google-xml":
                yield from read_google_xml(feed, currency, encoding)
                return
            text = text_of(feed, encoding)
            if kind in _TABLES:
                yield from _TABLES[kind](text, currency)
            else:
                yield from (read_page if kind == "html" else read_json_ld)(text, currency)
    except UnicodeError as error:  # UTF-16 that is cut off, and encodings that cannot show where a byte is wrong
        told = f"cannot be decoded ({type(error).__name__}); save the feed as UTF-8, or name its --encoding"
        yield Refused("", "", f"{told}; what is behind it is not imported", ends=True)
    except FeedDamaged as why:
        yield Refused("", "", f"{why}; what is behind it is not imported", ends=True)


def _check_encoding(encoding: str | None) -> None:
    """Raises CommandError for an encoding that is not known, or that is none of text, such as `hex`."""
    if encoding is None:
        return
    try:
        codecs.lookup(encoding)
        io.TextIOWrapper(io.BytesIO(), encoding)
    except (LookupError, ValueError):
        raise CommandError(f"--encoding {encoding}: not known; give one like cp1252", Exit.USAGE) from None


def _recognise(path: Path, head: bytes) -> Format:
    text = text_of(io.BufferedReader(io.BytesIO(head)), None, errors="replace").read()
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("<"):
        return _markup(path, start.lower())
    if start.startswith(("{", "[")):
        if '"listing_id"' in start and '"@type"' not in start:
            raise CommandError(f"{path}: listing events, not a feed; send them with `groknet submit`", Exit.USAGE)
        return "json-ld"
    columns = set(header_of(re.split(r"[\r\n]", start, maxsplit=1)[0])[0])
    if columns & {"handle", "url_handle"} and "title" in columns:
        return "shopify"
    if {"type", "name"} <= columns and columns & {"images", "regular_price", "categories"}:
        return "woocommerce"
    if {"id", "title"} <= columns and columns & {"image_link", "link"}:
        return "google-table"
    known = ", ".join(FORMATS)
    text = f"no feed that is known; its first line must name columns in English, or name its --format: {known}"
    raise CommandError(f"{path}: {text}", Exit.USAGE)


def _markup(path: Path, start: str) -> Format:
    if "<urlset" in start or "<sitemapindex" in start:
        text = f"a sitemap, not a feed; fetch what it lists with `groknet gallery fetch {path}`"
        raise CommandError(f"{path}: {text}", Exit.USAGE)
    return "html" if "<html" in start[:4096] or start.startswith("<!doctype html") else "google-xml"
