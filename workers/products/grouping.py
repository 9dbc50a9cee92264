"""Keeps the products of all live listings: what changed is grouped anew and named, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set

from schemas.hashes import HashMessage
from workers.products.attributes import NO_LABELS, Agreements, Attributes
from workers.products.links import Links
from workers.products.naming import Book, Changes
from workers.products.settings import ProductsSettings
from workers.products.stars import Linked, components, stars
from workers.watching import metrics

Labels = Mapping[str, frozenset[str]]
LabelsOf = Callable[[Sequence[str]], Mapping[str, Labels]]
"""By listing, the labels that each head offers of it. What is unknown is left out. It may raise Transient."""
_PAGE = 200  # listings whose labels are read together


class Grouping:
    """The products of one epoch's listings. Only one thread may call it.

    `put` and `remove` note changes, `plan` says what follows from a part of them, and `done` makes that so. A plan that
    is not done leaves everything as it was, and can be made again.
    """

    def __init__(self, settings: ProductsSettings, epoch: str, book: Book, labels_of: LabelsOf) -> None:
        self.book = book
        self.links = Links(
            epoch, radius=settings.radius_bits, most_copies=settings.most_copies, most_visits=settings.most_visits
        )
        self.gone: dict[str, int] = {}
        """The listings that have left and are not settled yet, with their event times (UTC microseconds)."""
        self._settings = settings
        self._labels_of = labels_of
        self._changed: set[str] = set()
        self._attributes: dict[str, Attributes] = {}
        self._edited: set[str] = set()
        self._planned: set[str] = set()
        self._leaving: dict[str, int] = {}

    @property
    def unsettled(self) -> int:
        """The number of listings that wait for `plan`."""
        return len(self._changed) + len(self.gone)

    def put(self, message: HashMessage) -> bool:
        """Take the newest photos of a listing. False if something newer is known. Raises EpochMismatch."""
        before = self.links.codes(message.listing_id)
        touched = self.links.put(message)
        if touched is not None and before not in ({}, self.links.codes(message.listing_id)):
            self._edited.add(message.listing_id)
        return self._note(message.listing_id, message.event_time, touched)

    def remove(self, listing_id: str, event_time: int) -> bool:
        """Take the removal of a listing at `event_time` (UTC microseconds). False if something newer is known."""
        return self._note(listing_id, event_time, self.links.remove(listing_id, event_time))

    def leave(self, listing_id: str, event_time: int) -> None:
        """A listing of the book that the topic does not know has left."""
        self.gone[listing_id] = event_time

    def _note(self, listing_id: str, event_time: int, touched: set[str] | None) -> bool:
        if touched is None:
            return False
        self._attributes.pop(listing_id, None)
        self._changed |= touched
        if listing_id in self.links:
            self.gone.pop(listing_id, None)
        else:
            self._changed.discard(listing_id)
            self.gone[listing_id] = event_time
        return True

    def forget_edits(self) -> None:
        """What was edited before now counts like any other change: the topic may have had older photos by chance."""
        self._edited.clear()

    def plan(self) -> Changes:
        """What follows from the next changes, at most `batch` of them, and from as many listings that have left. Raises
        Transient as `labels_of`."""
        self._leaving = dict(sorted(self.gone.items())[: self._settings.batch])
        groups: list[list[str]] = []
        planned: dict[str, int] = {}
        waiting = set(sorted(self._changed)[: self._settings.batch])
        agreements = Agreements(self._attributes, self._settings.most_differences)
        while waiting:
            for part in components(waiting, self._linked(waiting, agreements)):
                planned |= {listing_id: self.links.event_time(listing_id) for listing_id in part}
                groups += stars(part, agreements.agree, agreements.kind) if len(part) > 1 else [[*part]]
                metrics.PRODUCT_REGION.observe(len(part))
            waiting = self._left_behind(planned.keys()) - planned.keys()
        self._planned = set(planned)
        return self.book.named(groups, planned, self._leaving, self.links, self._edited & planned.keys())

    def _linked(self, chosen: Collection[str], agreements: Agreements) -> Linked:
        """Says with which listings a listing is linked that it does not contradict. Reads the labels of the `chosen`
        ones and of their neighbours at once."""
        links = {listing_id: self.links.linked(listing_id) for listing_id in sorted(chosen)}
        self._learn({one for name, linked in links.items() if linked for one in (name, *linked)})

        def linked(listing_id: str) -> Set[str]:
            near = links.get(listing_id)
            if near is None:
                near = self.links.linked(listing_id)
                self._learn({listing_id, *near} if near else set())
            return agreements.agreeing(listing_id, near) if near else near

        return linked

    def _left_behind(self, planned: Set[str]) -> set[str]:
        """All members of the products that edited ones of these listings had, because they are named together."""
        edited = self._edited & planned
        had = {self.book.memberships[one].product_id for one in edited if one in self.book.memberships}
        return {one for product_id in had for one in self.book.members(product_id) if one in self.links}

    def done(self, changes: Changes) -> None:
        """The last plan was carried out: its changes are in the store."""
        self.book.take(changes)
        self._edited -= self._planned | self._leaving.keys()
        self._changed -= self._planned
        for listing_id in self._leaving:
            del self.gone[listing_id]
        self._leaving = {}

    def _learn(self, wanted: set[str]) -> None:
        missing = sorted(wanted - self._attributes.keys())
        for start in range(0, len(missing), _PAGE):
            page = missing[start : start + _PAGE]
            labels = self._labels_of(page)
            for listing_id in page:
                category = self.links.category(listing_id) if self._settings.categories else None
                self._attributes[listing_id] = Attributes(category, labels.get(listing_id, NO_LABELS))
