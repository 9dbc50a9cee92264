"""Makes the listing event of a product of a feed. The same feed always makes the same events."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from groknet.importing.opened import is_text
from groknet.importing.product import Entry, LeftOut, Note, Product, Refused
from groknet.submitting.photo_events import listing_id
from schemas.errors import Invalid
from schemas.event_times import FIRST_US
from schemas.events import MAX_NAMED_IMAGES, ImageRef, ListingEvent, decode_event, encode_event
from workers.intake import IntakeSettings
from workers.intake.addresses import check_url

PRODUCER = "groknet import"
_LONGEST_TITLE, _LONGEST_CATEGORY = 1024, 256  # of an event
_MOST_MEMORY_KB = 8_000  # of the ids that were read; the rest of them is on disk


@dataclass(frozen=True, slots=True)
class Imported:
    """The event of a product, and the notes about fields that could not be used."""

    place: str
    event: ListingEvent
    notes: tuple[Note, ...]


@dataclass(frozen=True, kw_only=True)
class EventMaker:
    """How products become listings.

    Attributes:
        prefix: stands before the shop's ids, so that two shops never have the same listing.
        seller_id: of all listings.
        event_time: UTC microseconds; the time of the feed.
        intake: what the tagger may fetch; photos that it would refuse are left out and noted.
    """

    prefix: str = ""
    seller_id: str | None = None
    event_time: int
    intake: IntakeSettings = field(default_factory=IntakeSettings)

    def make(self, product: Product) -> Imported | Refused:
        """The event of a product; Refused if no photo of it can be fetched, or if a text of it cannot be written."""
        texts = {"id": self.prefix + product.id, "title": product.title, "category": product.category}
        texts["seller_id"] = self.seller_id
        for field_name, text in texts.items():
            if text and not is_text(text):
                return Refused(product.place, field_name, "not UTF-8, or half of a character")
        photos, notes = self._photos(product)
        if not photos:
            why = notes[0].why if notes else "no photo; a listing without one is not found by photo"
            return Refused(product.place, "photo", why)
        name = listing_id(self.prefix + product.id)
        event = ListingEvent(
            event_id="import",
            listing_id=name,
            event_time=max(FIRST_US, self.event_time),
            type="updated",
            images=[ImageRef(image_id=_digest(url)[:16], url=url) for url in photos],
            category=_cut(product.category, _LONGEST_CATEGORY),
            title=_cut(product.title, _LONGEST_TITLE),
            state=product.state,
            producer=PRODUCER,
            seller_id=self.seller_id,
            price=product.price,
        )
        identity = _digest(f"{name}\n{event.event_time}\n{event.digest}")[:32]
        event = msgspec.structs.replace(event, event_id=f"import-{identity}")
        try:
            decode_event(encode_event(event))  # as a tagger does
        except Invalid as error:
            return Refused(product.place, error.message.partition(":")[0][:40], error.message)
        return Imported(product.place, event, (*product.notes, *notes))

    def _photos(self, product: Product) -> tuple[list[str], list[Note]]:
        """The addresses that the tagger would fetch, each once, and notes about the others."""
        good, notes = [], []
        for url in dict.fromkeys(product.photos):
            try:
                if not is_text(url):
                    raise Invalid("fetch", "bad_url", "url: not UTF-8, or half of a character; percent-encode it")
                check_url(url, self.intake)
                if len(url) > 4096:
                    raise Invalid("fetch", "bad_url", "url: longer than 4096 characters")
            except Invalid as error:
                notes.append(Note(product.place, "photo", error.message))
            else:
                good.append(url)
        if len(good) > MAX_NAMED_IMAGES:
            notes.append(Note(product.place, "photo", f"more than {MAX_NAMED_IMAGES} photos; the first ones are used"))
        return good[:MAX_NAMED_IMAGES], notes


def import_events(entries: Iterator[Entry], maker: EventMaker) -> Iterator[Imported | Refused | LeftOut]:
    """The events of a feed. The second product of one id is refused: of two states of one moment neither is newer.

    The ids that were read are kept on disk, so memory does not grow with the feed.
    """
    with TemporaryDirectory(prefix="groknet-import-") as scratch, closing(_seen(Path(scratch) / "ids.db")) as ids:
        for entry in entries:
            made = maker.make(entry) if isinstance(entry, Product) else entry
            if isinstance(made, Imported) and not _is_new(ids, made.event.listing_id):
                made = Refused(made.place, "id", f"{made.event.listing_id} is in the feed already; give each id once")
            yield made


def _seen(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute(f"PRAGMA cache_size = -{_MOST_MEMORY_KB}")
    database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")
    database.execute("BEGIN")
    return database


def _is_new(ids: sqlite3.Connection, name: str) -> bool:
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return ids.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1


def _cut(text: str | None, longest: int) -> str | None:
    return text[:longest] if text else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
