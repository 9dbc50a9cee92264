"""Google product feeds as XML: RSS 2.0 with `<item>`, and Atom with `<entry>`.

The XML parser is expat, without a tree, so a feed of any size needs the memory of one product. A feed may declare no
entity: expansion of entities is how a small file becomes a huge one, and how a file reads other files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from groknet.importing.google import google_product
from groknet.importing.opened import MAX_LINE
from groknet.importing.product import Entry, Refused
from groknet.importing.rows import column_name

_GOOGLE = "http://base.google.com/ns/1.0"
_CHUNK = 64 * 1024
_MAX_DEPTH = 64
_TOO_LARGE = f"longer than {MAX_LINE} characters"


class _Stop(Exception):
    """The rest of the feed is not read. The text says why."""


@dataclass
class _Item:
    """One `<item>` or `<entry>`: the texts of its children by name. Those of Google's namespace come first."""

    place: str
    google: dict[str, list[str]] = field(default_factory=dict)
    plain: dict[str, list[str]] = field(default_factory=dict)
    size: int = 0

    def first(self, *names: str) -> str:
        """The first text of these names that is not empty."""
        texts = (text for name in names for table in (self.google, self.plain) for text in table.get(name, ()))
        return next((text for text in texts if text), "")

    def every(self, name: str) -> list[str]:
        """All texts of one name."""
        return [text for table in (self.google, self.plain) for text in table.get(name, ()) if text]


class _Handler:
    """Collects the items that expat reports."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self._parser = parser
        self._depth = 0
        self._item: _Item | None = None
        self._at = 0  # the depth of the item
        self._text: list[str] = []
        self.done: list[_Item] = []
        self.root = ""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Stop(f"more than {_MAX_DEPTH} elements inside each other; this is no product feed")
        local = name.rpartition(" ")[2].lower()
        if self._depth == 1:
            self.root = local
        if self._item is None and local in ("item", "entry"):
            self._item, self._at = _Item(f"line {self._parser.CurrentLineNumber}"), self._depth
        elif self._item is not None and self._depth == self._at + 1:
            self._text = [attributes["href"]] if local == "link" and "href" in attributes else []

    def text(self, data: str) -> None:
        if self._item is not None and self._depth > self._at:
            self._item.size += len(data)
            if self._item.size <= MAX_LINE:
                self._text.append(data)

    def end(self, name: str) -> None:
        if self._item is not None and self._depth == self._at + 1:
            space, _, local = name.rpartition(" ")
            table = self._item.google if space == _GOOGLE else self._item.plain
            table.setdefault(column_name(local), []).append(" ".join("".join(self._text).split()))
        elif self._item is not None and self._depth == self._at:
            self.done.append(self._item)
            self._item = None
        self._depth -= 1

    def entity(self, *_: object) -> None:
        raise _Stop("declares an entity, which is not read; write the text itself")


def read_google_xml(feed: io.BufferedReader, currency: str | None, encoding: str | None = None) -> Iterator[Entry]:
    """One product for each item. A feed that is not well-formed ends at the place where it stops to be."""
    parser = expat.ParserCreate(encoding, namespace_separator=" ")
    parser.buffer_text = True
    handler = _Handler(parser)
    parser.StartElementHandler, parser.EndElementHandler = handler.start, handler.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = handler.text, handler.entity
    fed = 0
    try:
        while True:
            data = feed.read(_CHUNK)
            fed += len(data)
            parser.Parse(data, not data)
            yield from _entries(handler, currency)
            if not data:
                break
            if fed - parser.CurrentByteIndex > MAX_LINE + _CHUNK:  # one tag that does not end
                raise _Stop(f"a tag is {_TOO_LARGE}")
    except expat.ExpatError as error:
        yield from _entries(handler, currency)
        text = f"not well-formed XML ({expat.ErrorString(error.code)}); what is behind it is not imported"
        yield Refused(f"line {error.lineno}", "", text, ends=True)
    except (LookupError, ValueError) as error:  # of the parser, about the encoding that the file names
        yield from _entries(handler, currency)
        text = f"its encoding cannot be read ({error}); save the feed as UTF-8"
        yield Refused(f"line {parser.CurrentLineNumber}", "", text, ends=True)
    except _Stop as why:
        yield from _entries(handler, currency)
        yield Refused(f"line {parser.CurrentLineNumber}", "", f"{why}; what is behind it is not imported", ends=True)
    else:
        if handler.root not in ("rss", "feed", "rdf", "channel"):
            text = f"the feed is a <{handler.root}>; give RSS 2.0 with <item> or Atom with <entry>"
            yield Refused("line 1", "", text, ends=True)


def _entries(handler: _Handler, currency: str | None) -> Iterator[Entry]:
    done, handler.done = handler.done, []
    for item in done:
        if item.size > MAX_LINE:
            yield Refused(item.place, "", f"the product is {_TOO_LARGE}")
        else:
            yield google_product(item, item.every("additional_image_link"), currency)
