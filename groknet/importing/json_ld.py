"""schema.org products as JSON-LD: files of JSON, lines of JSON, and web pages with `<script>` elements of it.

Source: schema.org's `Product`, `ProductGroup`, `Offer`, `AggregateOffer`, `ImageObject`, `ItemList`, and JSON-LD 1.1
(`@graph`, `@type`, `@value`). Terms may be written plainly, as `schema:name`, or as whole addresses. Other contexts are
not looked up: a feed must not make us fetch what it names.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any, TextIO
from urllib.parse import urljoin

from groknet.importing.json_values import MOST_VALUE, NotJson, json_values
from groknet.importing.opened import is_text
from groknet.importing.product import Entry, Notes, Product, Refused
from schemas.events import Price

_PREFIXES = ("https://schema.org/", "http://schema.org/", "https://www.schema.org/", "schema:")
_PRODUCTS = {"Product", "ProductModel", "IndividualProduct", "SomeProducts", "Vehicle", "Car", "Book"}
_HOLDERS = ("@graph", "mainEntity", "mainEntityOfPage", "itemListElement", "item", "hasVariant", "itemOffered")
_IDS = ("sku", "productID", "gtin", "gtin13", "gtin14", "gtin12", "gtin8", "mpn", "isbn", "@id", "url")
_MAX_DEPTH = 20
_NOT_TEXT = "not UTF-8, or half of a character; save the feed as UTF-8, or name its --encoding"


def read_json_ld(text: TextIO, currency: str | None) -> Iterator[Entry]:
    """The products of a JSON file, wherever they stand in it."""
    try:
        for line, value in json_values(text):
            yield from _entries(value, f"line {line}", currency)
    except NotJson as why:
        yield Refused(f"line {why.line}", "", f"{why}; what is behind it is not imported", ends=True)


def read_page(text: TextIO, currency: str | None, address: str = "") -> Iterator[Entry]:
    """The products of a web page, from its JSON-LD. `address` of the page resolves relative addresses."""
    finder = _Scripts()
    found = False
    more = True
    while more:
        data = text.read(64 * 1024)
        more = bool(data)
        why = ""
        try:
            if more:
                finder.feed(data)
            else:
                finder.close()
        except (AssertionError, ValueError) as error:  # of the parser: <![foo, and &#9…9; of thousands of digits
            why = f"no HTML that can be read ({error}); what is behind it is not imported"
        for entry in _of_scripts(finder, currency, address):
            found = True
            yield entry
        if why:
            yield Refused(f"line {finder.getpos()[0]}", "", why, ends=True)
            return
    if not found:
        yield Refused("", "", "the page has no product of schema.org as JSON-LD")


def _of_scripts(finder: _Scripts, currency: str | None, address: str) -> Iterator[Entry]:
    """The products of the scripts that were read. A script about something else is passed over."""
    done, finder.done = finder.done, []
    for line, script in done:
        place = f"line {line}"
        try:
            for _, value in json_values(io.StringIO(script)):
                for node, above in _products(value, {}, 0):
                    yield _product(_Node(node, above), place, currency, address)
        except NotJson as why:
            yield Refused(place, "", f"the JSON-LD of the page cannot be read: {why}")


class _Scripts(HTMLParser):
    """The JSON-LD scripts of a page, each with its line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.done: list[tuple[int, str]] = []
        self._parts: list[str] | None = None
        self._line, self._size = 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = (dict(attrs).get("type") or "").partition(";")[0].strip().lower()
        if tag == "script" and kind == "application/ld+json":
            self._parts, self._line, self._size = [], self.getpos()[0], 0

    def handle_data(self, data: str) -> None:
        if self._parts is not None:
            self._size += len(data)
            if self._size <= MOST_VALUE:
                self._parts.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and self._parts is not None:
            self.done.append((self._line, "".join(self._parts)))
            self._parts = None


def _entries(value: Any, place: str, currency: str | None) -> Iterator[Entry]:
    """The products in a value of JSON-LD."""
    found = False
    for node, above in _products(value, {}, 0):
        found = True
        yield _product(_Node(node, above), place, currency, "")
    if not found:
        yield Refused(place, "@type", "no product of schema.org in it; give an object with the @type Product")


def _products(value: Any, above: Mapping[str, Any], depth: int) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Each product with the group that it is a variant of, or nothing."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for one in value:
            yield from _products(one, above, depth + 1)
        return
    if not isinstance(value, dict):
        return
    node = {_term(name): part for name, part in value.items()}
    kinds = {_term(kind) for kind in _list(node.get("@type")) if isinstance(kind, str)}
    variants = "ProductGroup" in kinds and node.get("hasVariant")
    if kinds & _PRODUCTS or ("ProductGroup" in kinds and not variants):
        yield node, above
        return
    for holder in _HOLDERS:
        if holder in node:
            yield from _products(node[holder], node if variants else above, depth + 1)


def _term(name: str) -> str:
    """A term of schema.org without its prefix."""
    return next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)


def _list(value: Any) -> list[Any]:
    """A value as a list: JSON-LD writes one value plainly, several as a list."""
    if isinstance(value, dict) and set(value) <= {"@list", "@set"} and value:
        value = next(iter(value.values()))
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(value: Any, depth: int = 0) -> str:
    """A value as text: of several the first, of an object its @value, name or @id."""
    for one in _list(value) if depth <= _MAX_DEPTH else ():
        if isinstance(one, dict):
            inner = {_term(name): part for name, part in one.items()}
            named = (inner[name] for name in ("@value", "name", "codeValue", "@id") if name in inner)
            text = _text(next(named, None), depth + 1)
        elif isinstance(one, list):
            text = _text(one, depth + 1)
        else:
            text = "" if isinstance(one, bool) or one is None else str(one)
        if text.strip():
            return " ".join(text.split())
    return ""


class _Node:
    """A product, and the group whose values it takes where it has none of its own."""

    def __init__(self, node: Mapping[str, Any], above: Mapping[str, Any]) -> None:
        self._node, self._above = node, above

    def own(self, name: str) -> str:
        return _text(self._node.get(name))

    def text(self, name: str) -> str:
        return self.own(name) or _text(self._above.get(name))

    def raw(self, name: str) -> Any:
        return self._node.get(name) or self._above.get(name)


def _product(node: _Node, place: str, currency: str | None, address: str) -> Entry:
    identity = next((text for name in _IDS if (text := node.own(name))), "")
    if not identity:
        return Refused(place, "sku", "missing; each product needs a sku, productID, gtin, mpn, @id or url")
    notes = Notes(place)
    price, availability = _offer(node.raw("offers"), notes, currency)
    title, category = node.text("name"), node.text("category")
    if not all(map(is_text, (identity, title, category))):
        return Refused(place, "name", _NOT_TEXT)
    base = node.text("url") or address
    return Product(
        place=place,
        id=identity,
        title=title or None,
        category=category or None,
        photos=tuple(_photos(node.raw("image"), base, notes)),
        price=price,
        state=notes.state("availability", availability),
        notes=notes.all,
    )


def _offer(offers: Any, notes: Notes, currency: str | None, depth: int = 0) -> tuple[Price | None, str]:
    """The price of the first offer that has one, and whether the product can be bought."""
    price: Price | None = None
    availability = ""
    for one in _list(offers) if depth <= _MAX_DEPTH else ():
        if not isinstance(one, dict):
            continue
        offer = {_term(name): part for name, part in one.items()}
        inner = next((part for part in _list(offer.get("priceSpecification")) if isinstance(part, dict)), {})
        offer = {_term(name): part for name, part in inner.items()} | offer
        text = _text(offer.get("price")) or _text(offer.get("lowPrice"))
        named = _text(offer.get("priceCurrency")) or currency
        price = price or notes.price("offers.price", text, named)
        availability = availability or _text(offer.get("availability"))
        if price is None and "offers" in offer:
            price, more = _offer(offer["offers"], notes, named, depth + 1)
            availability = availability or more
    return price, availability


def _photos(images: Any, base: str, notes: Notes) -> Iterator[str]:
    for one in _list(images):
        if isinstance(one, dict):
            inner = {_term(name): part for name, part in one.items()}
            found = _text(inner.get("contentUrl")) or _text(inner.get("url")) or _text(inner.get("@id"))
        else:
            found = _text(one)
        if not found:
            continue
        try:
            whole = urljoin(base, found)
        except ValueError:
            whole = found
        if not is_text(whole):
            notes.add("image", f"{found[:60]!r}: {_NOT_TEXT}")
        elif "://" in whole:
            yield whole
        else:
            notes.add("image", f"{found[:60]!r} is no whole address; write https://host/path")
