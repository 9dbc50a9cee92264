"""Searches by typed queries: candidates from the label index, the listings from the store, which has the last word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from schemas.plain_text import plain, plain_or_none
from schemas.predictions import ImageRow, RemovalMarker, StoredListing
from workers.search.answers import TypedLabel, TypedListing, TypedMeaning, TypedPhrase
from workers.search.find.filters import Filters
from workers.search.find.finder import Found
from workers.search.find.labels.naming import Names, thumbnail_path
from workers.search.typed.follower import Follower, shown_labels, words_of
from workers.search.typed.label_index import LabelIndex
from workers.search.typed.query import DIGITS, Reader, TypedQuery, Weighed, relevance, title_words
from workers.search.typed.text_model import TextSearch
from workers.stores import Store
from workers.watching import typed_metrics

MAX_ASKED = 2_000  # candidates that are read for one query
SPARE = 5  # extra candidates; a removal leaves the index within a second
_MOST_LABELS = 8  # of one phrase in an answer


@dataclass(frozen=True, slots=True)
class Typed:
    """A typed query with the weights of its terms. `titles`: whether words of titles count."""

    text: str
    query: TypedQuery
    weighed: Weighed
    titles: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """A listing that answers a query, with the row of the photo that answers it best."""

    listing: StoredListing
    row: ImageRow
    relevance: float


class Answered(NamedTuple):
    """The listings of an answer, whether no further one can belong to it, and whether the text model found any."""

    hits: list[Hit]
    whole: bool
    by_text: bool = False


class TypedFinder:
    """Reads typed queries and finds listings. Thread-safe. `find` blocks, and may raise Transient."""

    def __init__(
        self,
        index: LabelIndex,
        follower: Follower,
        reader: Reader,
        store: Store,
        names: Names,
        *,
        texts: TextSearch | None = None,
    ) -> None:
        """`texts`: finds photos by texts of which no word means a label."""
        self._index, self._follower, self._reader, self._texts = index, follower, reader, texts
        self._store, self._names = store, names

    @property
    def complete(self) -> bool:
        """Whether every listing can be found: the store was read, and there was room for all."""
        return self._follower.complete and not self._index.left_out

    def read(self, text: str, *, titles: bool) -> Typed:
        """What a text means."""
        query = self._reader.read(text)
        return Typed(text, query, self._index.weigh(query.terms, titles=titles), titles)

    def find(self, typed: Typed, count: int, only: Filters) -> Answered:
        """The `count` most relevant listings that pass, the most relevant first, ties by id.

        Their relevance is that of what the store has now. A listing that was removed or no longer passes is left out.
        At most `MAX_ASKED` listings are looked at, so a filter that few of them pass may end the search too early.

        If no phrase means a label, and there is a text model, its nearest photos belong to the answer as well. Their
        relevance is their likeness; of a listing that has both, the greater one counts.
        """
        answered = self._labelled(typed, count, only)
        if self._texts is None or typed.query.meaning.understood:
            return answered
        hits = {hit.listing.listing_id: hit for hit in answered.hits}
        near = self._texts.find(typed.text, count, only)
        for one in near:
            name, relevance_ = one.photo.listing_id, round(one.likeness, DIGITS)
            if one.listing is None or (name in hits and hits[name].relevance >= relevance_):
                continue
            place = one.photo.image_id, one.photo.box
            row = next((row for row in one.listing.images if (row.image_id, row.box) == place), None)
            if row is not None:
                hits[name] = Hit(one.listing, row, relevance_)
        ranked = sorted(hits.values(), key=lambda hit: (-hit.relevance, hit.listing.listing_id))
        return Answered(ranked[:count], answered.whole, bool(near))

    def _labelled(self, typed: Typed, count: int, only: Filters) -> Answered:
        """The listings that answer by their labels and titles."""
        seen: dict[str, Hit | None] = {}
        ask = (count + SPARE) * (2 if only else 1)
        while True:
            candidates = self._index.search(typed.weighed, ask, titles=typed.titles)
            unread = [listing_id for listing_id, _ in candidates if listing_id not in seen]
            stored = self._store.get(unread) if unread else {}
            seen.update({listing_id: self._hit(stored.get(listing_id), typed, only) for listing_id in unread})
            hits = [hit for listing_id, _ in candidates if (hit := seen[listing_id]) is not None]
            enough = len(hits) >= count or len(candidates) < ask
            if enough or ask >= MAX_ASKED:
                ranked = sorted(hits, key=lambda hit: (-hit.relevance, hit.listing.listing_id))
                return Answered(ranked[:count], enough)
            ask = min(2 * ask, MAX_ASKED)

    def _hit(self, listing: StoredListing | RemovalMarker | None, typed: Typed, only: Filters) -> Hit | None:
        if not isinstance(listing, StoredListing) or not listing.images:
            return None
        if only and not only.pass_(listing.event.category, listing.event.state):
            return None
        return Hit(listing, self._best_row(listing, typed), self.relevance(listing, typed))

    def relevance(self, listing: StoredListing, typed: Typed) -> float:
        """How well a listing answers, 0 to 1."""
        words = frozenset(words_of(listing)) if typed.titles else frozenset()
        return relevance(typed.weighed, shown_labels(listing, self._names), words)

    def _best_row(self, listing: StoredListing, typed: Typed) -> ImageRow:
        if len(listing.images) == 1:
            return listing.images[0]

        def answers(row: ImageRow) -> float:
            return relevance(typed.weighed, self._names.relevant(row.predictions, row.applies))

        return max(listing.images, key=answers)

    def scored(self, found: Sequence[Found], typed: Typed) -> list[Found]:
        """Neighbours of a photo, each with its relevance. If nothing of the query is understood, they have none."""
        if not typed.weighed:
            return list(found)
        return [
            replace(one, relevance=0.0 if one.listing is None else self.relevance(one.listing, typed)) for one in found
        ]

    def meaning(self, typed: Typed, language: str, *, by_text: bool = False) -> TypedMeaning:
        """What was understood, for the answer. `by_text`: the text model found listings, as `Answered` says."""
        titled = {word for term, _ in typed.weighed if not term.choices for word in term.words}
        phrases = []
        for one in typed.query.meaning.phrases:
            labels = [
                TypedLabel(head=ref.head, label=ref.label, name=self._names.name(ref.head, ref.label, language))
                for ref in one.labels[:_MOST_LABELS]
            ]
            by_title = not labels and bool(set(title_words(one.text)) & titled)
            phrases.append(
                TypedPhrase(
                    text=one.text,
                    understood="label" if labels else "title" if by_title else "text" if by_text else "no",
                    corrected=one.corrected,
                    labels=labels,
                )
            )
        return TypedMeaning(text=plain(typed.text), phrases=phrases, titles=typed.titles)

    def shown(self, hits: Sequence[Hit], language: str) -> list[TypedListing]:
        """The listings as the answer shows them."""
        return [
            TypedListing(
                listing_id=hit.listing.listing_id,
                image_id=hit.row.image_id,
                box=hit.row.box,
                relevance=hit.relevance,
                title=plain_or_none(hit.listing.event.title),
                category=plain_or_none(hit.listing.event.category),
                price=hit.listing.event.price,
                tags=self._names.tags(hit.listing.summary.predictions, language, hit.listing.summary.applies),
                thumbnail=thumbnail_path(hit.listing.listing_id, hit.row.image_id),
            )
            for hit in hits
        ]


def reordered(found: Sequence[Found]) -> list[Found]:
    """Neighbours by relevance times likeness, the greatest first. Those without relevance stay in their order."""
    return sorted(found, key=lambda one: -(1.0 if one.relevance is None else one.relevance * one.likeness))


def count_words(meaning: TypedMeaning) -> None:
    """Count the phrases of a query by how they were understood."""
    for one in meaning.phrases:
        typed_metrics.TYPED_PHRASES.labels("corrected" if one.corrected else one.understood).inc()
