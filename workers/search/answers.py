"""The types of what the service answers. The OpenAPI description is built from these types and their docstrings."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.events import Price
from schemas.predictions import BadImage, Status
from workers.search.price_answers import PriceSuggestion


class NamedPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """A label with its display name and its calibrated probability (0 to 1). `offered` is true if the probability
    reaches the label's threshold and the head applies to the photo. The engine decides it once, as the stored row has
    it."""

    label: str
    name: str
    probability: float
    offered: bool


NamedPredictions = dict[str, list[NamedPrediction]]
Box = tuple[float, float, float, float]
"""left, top, right and bottom of the subject, as shares (0 to 1) of the width and height of the upright photo."""


class Similar(msgspec.Struct, frozen=True, kw_only=True):
    """A similar listing and its photo that is nearest to the query. `box` is the part of that photo which is so near;
    null means the whole photo. `distance` is the number of differing bits of 256. `likeness`, from 0 (no more alike
    than chance) to 1, falls with the order of the answer, unless the search has typed words. `relevance`, from 0 to 1,
    says how well the listing answers these words; null without any. `price` is what the seller asks for; null if the
    event named none. With `group=product`, `product` is the id of its product, and `offers` the number of listings of
    that product; null otherwise, and if it has no product."""

    listing_id: str
    image_id: str
    box: Box | None
    distance: int
    likeness: float
    relevance: float | None
    title: str | None
    category: str | None
    price: Price | None
    tags: list[str]
    thumbnail: str
    product: str | None = None
    offers: int | None = None


class CategoryShare(msgspec.Struct, frozen=True, kw_only=True):
    """A category and its votes. `share`: its share of the whole vote. `own`: the calibrated probability from the photo
    alone, 0 if no head knows the category. `neighbours`: its share of the weight of the neighbours. `voters`: their
    listings. All shares are from 0 to 1."""

    category: str
    share: float
    own: float
    neighbours: float
    voters: list[str]


class FoundBox(msgspec.Struct, frozen=True, kw_only=True):
    """A product that the detector found in the photo of a request. `kind` is its class, and `score` the detector's
    confidence, from 0 to 1."""

    box: Box
    kind: str
    score: float


class VotedCategory(msgspec.Struct, frozen=True, kw_only=True):
    """A category and its votes. `share`: its share of the whole vote. `detector`: the confidence of the detector if
    this is the class of the box, else 0. `neighbours`: its share of the weight of the 20 nearest listings."""

    category: str
    share: float
    detector: float
    neighbours: float


class BoxAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one product of the photo is, and the listings that look like it. The fields are those of `SearchAnswer` and
    `FoundBox`. `box` is null, `kind` and `score` as well, if no product was found: then it is the whole photo."""

    box: Box | None
    kind: str | None
    score: float | None
    hash: str
    predictions: NamedPredictions
    applies: list[str] | None
    categories: list[CategoryShare]
    category_vote: list[VotedCategory]
    neighbours: list[Similar]
    close: bool


class TypedLabel(msgspec.Struct, frozen=True, kw_only=True):
    """A label that a typed phrase means."""

    head: str
    label: str
    name: str


class TypedPhrase(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a typed query in its normal form, and how it was understood: by a label, else by words of titles, else
    by the operator's text model, else not. `corrected` is the known word that was taken for a mistyped one. `labels`
    has the first eight labels that it means."""

    text: str
    understood: Literal["label", "title", "text", "no"]
    corrected: str | None
    labels: list[TypedLabel]


class TypedMeaning(msgspec.Struct, frozen=True, kw_only=True):
    """What was typed, and what was understood of it, in the order of the text. `titles`: whether words of titles
    count."""

    text: str
    phrases: list[TypedPhrase]
    titles: bool


class TypedListing(msgspec.Struct, frozen=True, kw_only=True):
    """A listing that answers typed words, and its photo that answers them best. `relevance`, from 0 to 1, falls with
    the order of the answer. The other fields are those of `Similar`."""

    listing_id: str
    image_id: str
    box: Box | None
    relevance: float
    title: str | None
    category: str | None
    price: Price | None
    tags: list[str]
    thumbnail: str


class TypedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/search` with typed words (`q`) and no photo: the listings that answer them, the most relevant first.
    `complete` is false while the listings are still being read after a start, or if there are more of them than
    `search.max_typed_listings`: then a listing may be missing."""

    model_version: str
    epoch: str
    query: TypedMeaning
    listings: list[TypedListing]
    complete: bool
    stale: bool
    took_s: float


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/search`: what the photo shows, and similar listings, the nearest first.

    In a search by listing, `listing_id` and `image_ids` name the photos that were compared, `hash` is that of the first
    one, and the predictions are the stored ones. `categories` is the vote, the best first; it is empty if the vote is
    off or no neighbour votes. `distance` counts bits, but the order of the neighbours is finer: it uses the photo's
    unrounded bits. `close` is false if no neighbour is near enough to
    be taken for the same or nearly the same thing (`search.close_likeness`, `search.close_bits`), also if there is
    none. `reranked`: the order comes from re-ranking; the distances do not change. `applies`: the ids of the
    heads that apply to what was searched with; null if the bundle does not know.

    `box` is the part of the photo that was searched with: the one in the request, or the detector's; null means the
    whole photo. `detected` has all products that were found in the photo, the most confident first; it is empty if none
    was looked for. `boxes` has an answer for each of them if the request says `detect=all`; the other fields are those
    of the first one. `category_vote` is the vote of the detector's class and the nearest listings; it is empty if it is
    off (`search.category_vote`). `frames` has the numbers, from 0, of the photos of a clip that were searched with.
    `price` is a price to suggest for the first product, if the request says `price=true`; null if too few sellers have
    one.

    `query` is what was typed beside the photo; null if nothing was. Then the order of the neighbours is by relevance
    times likeness.
    """

    model_version: str
    epoch: str
    hash: str
    listing_id: str | None
    image_ids: list[str]
    box: Box | None
    predictions: NamedPredictions
    applies: list[str] | None
    categories: list[CategoryShare]
    category_vote: list[VotedCategory]
    neighbours: list[Similar]
    close: bool
    detected: list[FoundBox]
    boxes: list[BoxAnswer]
    frames: list[int]
    price: PriceSuggestion | None
    query: TypedMeaning | None
    reranked: bool
    stale: bool
    took_s: float


class SearchByListing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON body of `POST /v1/search` without a photo: a stored listing, and one of its photos or, by default,
    all; typed words (`q`); or both."""

    listing_id: str | None = None
    image_id: str | None = None
    q: str | None = None


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction to suggest to a seller, and the head that made it."""

    head: str
    label: str
    name: str
    probability: float
    offered: bool


class PredictedBox(msgspec.Struct, frozen=True, kw_only=True):
    """Suggestions for one product of the photo. The fields are those of `PredictAnswer` and `FoundBox`; null as in
    `BoxAnswer`."""

    box: Box | None
    kind: str | None
    score: float | None
    hash: str
    category: list[Suggestion]
    attributes: list[Suggestion]
    title_words: list[Suggestion]
    predictions: NamedPredictions
    applies: list[str] | None


class PredictAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/predict`: suggestions for a seller who lists a product. Nothing is stored.

    `applies`: the ids of the heads that apply to the photo; null if the bundle does not know.
    `category`: what the product is, the best first. `attributes`: the best label of each head that describes it.
    `title_words`: words for the title, the best first. These three have relevant heads only; `predictions` has all
    heads. `duplicates` has stored listings with nearly the same photo (`search.duplicate_radius`), the nearest first:
    the product may be listed already. It is null if the index or the store did not answer, or the request says
    `duplicates=false`. `box`, `detected`, `boxes` and `price` are as in `SearchAnswer`.
    """

    model_version: str
    epoch: str
    hash: str
    box: Box | None
    category: list[Suggestion]
    attributes: list[Suggestion]
    title_words: list[Suggestion]
    predictions: NamedPredictions
    applies: list[str] | None
    duplicates: list[Similar] | None
    detected: list[FoundBox]
    boxes: list[PredictedBox]
    price: PriceSuggestion | None
    took_s: float


class SimilarAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}/similar`: other listings that look like one of its photos, the nearest first."""

    listing_id: str
    image_ids: list[str]
    epoch: str
    neighbours: list[Similar]
    reranked: bool
    stale: bool
    took_s: float


class DuplicatesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}/duplicates`: other listings with a photo within `radius` bits of one of its
    photos, the nearest first. `complete` is false if there are more than were asked for."""

    listing_id: str
    image_ids: list[str]
    epoch: str
    radius: int
    duplicates: list[Similar]
    complete: bool
    stale: bool
    took_s: float


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """Times in UTC microseconds; null if they are no longer known. `searchable` is null if the index does not
    answer."""

    event_time: int
    uploaded_at: int | None
    stored_at: int
    indexed_at: int | None
    searchable: bool | None
    upload_to_stored_s: float | None
    upload_to_searchable_s: float | None


class ImageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One good photo of a listing, or the part of it inside `box`. `applies`: the ids of the heads that apply to it;
    null if the bundle does not know."""

    image_id: str
    box: Box | None
    hash: str
    predictions: NamedPredictions
    applies: list[str] | None
    thumbnail: str


class ListingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}`: the stored summary of a listing, its photos, and its freshness. `applies`: the
    ids of the heads that apply to at least half of the photos; null if the bundle does not know. `price` and
    `seller_id` are as the event named them; null if it did not. `product` is the id of its product; null if it has
    none, and in a batch read."""

    listing_id: str
    event_id: str
    title: str | None
    category: str | None
    price: Price | None
    seller_id: str | None
    state: str
    status: Status
    model_version: str
    epoch: str
    predictions: NamedPredictions
    applies: list[str] | None
    images: list[ImageAnswer]
    bad_images: list[BadImage]
    freshness: Freshness
    product: str | None = None


class ProductPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """A photo that stands for a product: the first good one of the listing that its id stays with."""

    listing_id: str
    image_id: str
    title: str | None
    thumbnail: str


class ProductAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/products/{product_id}`: a product and its listings. If the id in the request is an alias, `product_id`
    is the surviving id, and `alias` the one in the request; otherwise `alias` is null. `founded` is the time of its
    first listing (UTC microseconds). `size` counts its listings; `listing_ids` has the first 200 of them by id. `photo`
    is null if no listing has a photo any more."""

    product_id: str
    alias: str | None
    founded: int
    size: int
    listing_ids: list[str]
    photo: ProductPhoto | None


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON body of `POST /v1/listings:batch`."""

    listing_ids: list[str]


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/listings:batch`: the listings in the order of the request, each once. `searchable` is null, because the
    index is not asked."""

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
    """`GET /v1/recent`: the listings that became searchable last, the newest first."""

    listings: list[RecentListing]


class ProblemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
