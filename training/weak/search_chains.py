"""Chains of search → click → message: a buyer's query, the photo that was clicked, and the message to the seller.

A (query, photo) pair counts only if all three events follow each other within their windows (GrokNet, KDD 2020: query
data from buyers who searched, clicked and messaged the seller). A click belongs to the buyer's last search before it,
or to no search if that one could not be used. The log is read once. Memory is bounded by the number of buyers and by
the clicks of a buyer.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.query_text import clean_query
from schemas.units import Count, Seconds

Text = Annotated[str, Meta(min_length=1, max_length=512)]


class LogEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a log. Other fields are ignored.

    Attributes:
        time: seconds since 1970, or ISO 8601 with an offset.
        buyer: who did it.
        event: what was done.
        query: of a search.
        listing: of a click or a message.
        image: of a click, the path of the photo.
    """

    time: float | Annotated[datetime, Meta(tz=True)]
    buyer: Text
    event: Literal["search", "click", "message"]
    query: str = ""
    listing: str = ""
    image: str = ""

    @property
    def seconds(self) -> float:
        """Seconds since 1970."""
        return self.time.timestamp() if isinstance(self.time, datetime) else self.time


class ChainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a chain may take, and how much is remembered."""

    click_window_s: Seconds = 1800.0  # web analytics commonly end a visit after half an hour without an event
    message_window_s: Seconds = 86_400.0  # after a day another search is the likelier reason for a message
    longest_query: Count = 80  # characters; longer queries are pasted text
    buyers: Count = 1_000_000  # remembered at a time, about 1 KB each
    clicks: Count = 200  # remembered for each buyer; more clicks in a day are hardly a buyer's


@dataclass(frozen=True)
class Pair:
    """A buyer's query, and the path of the photo that the buyer chose for it."""

    buyer: str
    query: str
    photo: str


@dataclass
class _Buyer:
    last: float = float("-inf")
    searched: float = 0.0
    query: str = ""
    # listing → when, query, image
    clicks: OrderedDict[str, tuple[float, str, str]] = field(default_factory=OrderedDict)


class Chains:
    """Takes events, each buyer's in order of time, and gives pairs; `dropped` counts events without one by reason."""

    def __init__(self, settings: ChainSettings) -> None:
        self._settings = settings
        self._buyers: OrderedDict[str, _Buyer] = OrderedDict()
        self.dropped: Counter[str] = Counter()

    def feed(self, event: LogEvent) -> Pair | None:
        """Take one event; returns the pair that it completes, if any."""
        buyer = self._buyer(event.buyer)
        if event.seconds < buyer.last:
            self.dropped["out_of_order"] += 1
            return None
        buyer.last = event.seconds
        if event.event == "search":
            self._search(buyer, event)
        elif event.event == "click":
            self._click(buyer, event)
        else:
            return self._message(buyer, event)
        return None

    def finish(self) -> None:
        """At the end of the log: count the clicks that no message followed."""
        while self._buyers:
            self._forget()

    def _buyer(self, name: str) -> _Buyer:
        if name in self._buyers:
            self._buyers.move_to_end(name)
        else:
            if len(self._buyers) >= self._settings.buyers:
                self._forget()
                self.dropped["buyer_forgotten"] += 1
            self._buyers[name] = _Buyer()
        return self._buyers[name]

    def _forget(self) -> None:
        _, buyer = self._buyers.popitem(last=False)
        self.dropped["click_without_message"] += len(buyer.clicks)

    def _search(self, buyer: _Buyer, event: LogEvent) -> None:
        query, reason = clean_query(event.query, self._settings.longest_query)
        if reason:
            self.dropped[reason] += 1
        buyer.searched, buyer.query = event.seconds, query  # a search that cannot be used still ends the one before it

    def _click(self, buyer: _Buyer, event: LogEvent) -> None:
        reason = ""
        if not event.listing or not _inside(event.image):
            reason = "click_without_photo"
        elif not buyer.query:
            reason = "click_without_search"
        elif event.seconds - buyer.searched > self._settings.click_window_s:
            reason = "click_too_late"
        if reason:
            self.dropped[reason] += 1
            return
        if buyer.clicks.pop(event.listing, None):
            self.dropped["click_again"] += 1  # a message will be about the later search
        buyer.clicks[event.listing] = (event.seconds, buyer.query, event.image)
        if len(buyer.clicks) > self._settings.clicks:
            buyer.clicks.popitem(last=False)
            self.dropped["click_forgotten"] += 1

    def _message(self, buyer: _Buyer, event: LogEvent) -> Pair | None:
        clicked = buyer.clicks.pop(event.listing, None)
        if clicked is None:
            self.dropped["message_without_click"] += 1
            return None
        when, query, image = clicked
        if event.seconds - when > self._settings.message_window_s:
            self.dropped["message_too_late"] += 1
            return None
        return Pair(event.buyer, query, image)


def _inside(image: str) -> bool:
    """Whether `image` is a path inside the photos' folder."""
    path = PurePosixPath(image)
    return bool(image) and not path.is_absolute() and ".." not in path.parts
