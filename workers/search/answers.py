"""What the service answers, as typed shapes; `openapi.py` describes them from these very types."""

from __future__ import annotations

import msgspec

from schemas.predictions import BadImage, Status


class NamedPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """A label with its display name and calibrated probability; `offered` where it reaches the operating threshold of a
    head that the photo is for: one that learned from another kind of product offers nothing."""

    label: str
    name: str
    probability: float
    offered: bool


NamedPredictions = dict[str, list[NamedPrediction]]


class Similar(msgspec.Struct, frozen=True, kw_only=True):
    """A listing, by its photo that is nearest to the query; `distance` counts the bits of 256 that differ."""

    listing_id: str
    image_id: str
    distance: int
    title: str | None
    category: str | None
    tags: list[str]
    thumbnail: str


Box = tuple[float, float, float, float]
"""left, top, right, bottom of the subject, as shares (0 to 1) of the upright photo's width and height."""


class CategoryShare(msgspec.Struct, frozen=True, kw_only=True):
    """A category and what speaks for it: `share` of the whole vote, `own` calibrated probability that the photo alone
    gives it (0 where no head knows it), `neighbours` share of the neighbours' weight; `voters` are their listings."""

    category: str
    share: float
    own: float
    neighbours: float
    voters: list[str]


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/search`: what the photo shows, and the listings that look like it, nearest first.

    Asked by listing, `listing_id` and `image_ids` say whose photos were compared, `hash` is the first one's, and the
    predictions are the stored ones. `categories`: the vote, best first; empty where it is off or nobody votes.
    `distance` counts bits, while the order of a photo's neighbours is finer, by its bits before they were rounded.
    `reranked`: the order is that of the re-ranking, distances stay what they are.
    """

    model_version: str
    epoch: str
    hash: str
    listing_id: str | None
    image_ids: list[str]
    box: Box | None
    predictions: NamedPredictions
    categories: list[CategoryShare]
    neighbours: list[Similar]
    reranked: bool
    stale: bool
    took_s: float


class SearchByListing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON body of `POST /v1/search` instead of a photo: a stored listing, and which of its photos (else all)."""

    listing_id: str
    image_id: str | None = None


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction to offer while listing, and the head that made it."""

    head: str
    label: str
    name: str
    probability: float
    offered: bool


class PredictAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/predict`: what a seller is offered while listing. Nothing is stored.

    `category`: what the thing is, best first; `attributes`: the best label of each head that describes it;
    `title_words`: words for the title, best first. Only heads of the photo's kind are there; `predictions` has all.
    """

    model_version: str
    epoch: str
    hash: str
    box: Box | None
    category: list[Suggestion]
    attributes: list[Suggestion]
    title_words: list[Suggestion]
    predictions: NamedPredictions
    took_s: float


class SimilarAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}/similar`: other listings that look like any of its photos, nearest first."""

    listing_id: str
    image_ids: list[str]
    epoch: str
    neighbours: list[Similar]
    reranked: bool
    stale: bool
    took_s: float


class DuplicatesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}/duplicates`: other listings with a photo within `radius` bits of one of its own,
    nearest first. `complete` is false where there are more than were asked for."""

    listing_id: str
    image_ids: list[str]
    epoch: str
    radius: int
    duplicates: list[Similar]
    complete: bool
    stale: bool
    took_s: float


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """Times are UTC microseconds; null where they are not known any more (`searchable`: the index cannot be asked)."""

    event_time: int
    uploaded_at: int | None
    stored_at: int
    indexed_at: int | None
    searchable: bool | None
    upload_to_stored_s: float | None
    upload_to_searchable_s: float | None


class ImageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One good photo of a listing."""

    image_id: str
    hash: str
    predictions: NamedPredictions
    thumbnail: str


class ListingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}`: the stored summary, its photos, and how fresh it is."""

    listing_id: str
    event_id: str
    title: str | None
    category: str | None
    state: str
    status: Status
    model_version: str
    epoch: str
    predictions: NamedPredictions
    images: list[ImageAnswer]
    bad_images: list[BadImage]
    freshness: Freshness


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON body of `POST /v1/listings:batch`."""

    listing_ids: list[str]


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/listings:batch`: in the order asked, each once. The index is not asked: `searchable` is null."""

    listings: list[ListingAnswer]
    removed: list[str]
    missing: list[str]


class RecentListing(msgspec.Struct, frozen=True, kw_only=True):
    """A listing of the live strip."""

    listing_id: str
    title: str | None
    tags: list[str]
    thumbnail: str
    freshness: Freshness


class RecentListings(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/recent`: the listings that became searchable last, newest first."""

    listings: list[RecentListing]


class ProblemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
