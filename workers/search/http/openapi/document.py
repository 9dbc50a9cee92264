"""The OpenAPI 3.1 document. Paths and examples are written by hand; schemas come from the types of the answers."""

from __future__ import annotations

import msgspec

from workers.http.problems import MEDIA_TYPE
from workers.search import answers
from workers.search.http.openapi import examples, parts, suggestion_paths
from workers.search.http.openapi.parts import Document
from workers.search.http.stored import PHOTO_SIDE
from workers.search.kept.answers import FeedbackAnswer, FeedbackRequest
from workers.search.settings import SearchSettings

_TYPES = (
    answers.SearchByListing,
    answers.SearchAnswer,
    answers.TypedAnswer,
    answers.PredictAnswer,
    answers.ListingAnswer,
    answers.SimilarAnswer,
    answers.DuplicatesAnswer,
    *suggestion_paths.TYPES,
    answers.ProductAnswer,
    answers.BatchRequest,
    answers.BatchAnswer,
    answers.RecentListings,
    FeedbackRequest,
    FeedbackAnswer,
    answers.ProblemAnswer,
)


def describe(settings: SearchSettings) -> Document:
    """The whole document, with the limits of this service's settings."""
    _, components = msgspec.json.schema_components(_TYPES, ref_template=parts.REF)
    scheme = {"type": "http", "scheme": "bearer", "description": "Needed if the service has tokens."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GrokNet search",
            "version": "1",
            "summary": "Takes a photo; answers with calibrated predictions and similar listings.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{}, {"token": []}],
        "paths": {
            "/v1/search": {"post": _search(settings)},
            "/v1/predict": {"post": _predict(settings)},
            "/v1/listings/{listing_id}": {"get": _listing(settings)},
            "/v1/listings/{listing_id}/similar": {"get": _similar(settings)},
            "/v1/listings/{listing_id}/duplicates": {"get": _duplicates(settings)},
            **suggestion_paths.paths(settings),
            "/v1/products/{product_id}": {"get": _product()},
            "/v1/listings:batch": {"post": _batch(settings)},
            "/v1/thumbnail": {"get": _thumbnail()},
            "/v1/photo": {"get": _photo()},
            "/v1/recent": {"get": _recent(settings)},
            "/v1/feedback": {"post": _feedback()},
            **_operations(),
        },
        "components": {"schemas": components, "securitySchemes": {"token": scheme}},
    }


def _search(settings: SearchSettings) -> Document:
    by_listing = {"$ref": parts.REF.format(name="SearchByListing")}
    return {
        "operationId": "search",
        "summary": "Find the listings that look like a photo or a listing, or that answer typed words",
        "parameters": [
            parts.typed(settings),
            parts.flag("titles", "For typed words: whether words of titles count as well", settings.typed_titles),
            parts.number("k", "Number of listings", settings.default_k, settings.max_k),
            parts.language(settings),
            parts.box(),
            parts.detect(),
            *parts.filters(),
            parts.flag(
                "vote",
                "Choose the category by a vote of the photo's prediction and the 20 nearest listings",
                settings.vote,
            ),
            parts.flag("fine", "For a photo: order by its unrounded bits", settings.fine),
            parts.flag("rerank", "Order by k-reciprocal neighbours instead of by distance", settings.rerank),
            *suggestion_paths.price_parameters(),
            parts.group(),
            parts.flag("keep", "The person agrees that what search.keep says is kept of this search", False),
        ],
        "requestBody": {
            "required": False,
            "description": (
                f"{parts.photo_limits(settings)} Or up to {settings.max_frames} photos of one product, the frames of a "
                "clip, as several fields `photo` of a form: the sharp frames that agree give one answer. Or a stored "
                "listing, as JSON; the answer leaves it out. Or typed words, `q`, beside any of these or alone: as a "
                "field of a form, in the JSON, or in the address without a body."
            ),
            "content": {
                **parts.photo_contents(settings, settings.max_frames, typed=True),
                "application/x-www-form-urlencoded": {
                    "schema": {"type": "object", "required": ["q"], "properties": {"q": parts.typed_text(settings)}},
                    "example": {"q": "red mug"},
                },
                "application/json": {"schema": by_listing, "example": examples.SEARCH_BY_LISTING},
            },
        },
        "responses": {
            "200": parts.answers(
                "Predictions, the vote and neighbours; for words alone the listings that answer them",
                {"photo": ("SearchAnswer", examples.SEARCH), "words": ("TypedAnswer", examples.TYPED)},
            ),
            **parts.problems(400, 403, 404, 408, 409, 410, 413, 415, 422),
        },
    }


def _predict(settings: SearchSettings) -> Document:
    return {
        "operationId": "predict",
        "summary": "What a photo shows: category, attributes, title words and near duplicates, for a seller's form",
        "parameters": [
            parts.language(settings),
            parts.box(),
            parts.detect(),
            *suggestion_paths.price_parameters(),
            parts.flag("duplicates", "Look for stored listings with nearly the same photo", True),
        ],
        "requestBody": {
            "required": True,
            "description": parts.photo_limits(settings),
            "content": parts.photo_contents(settings),
        },
        "responses": {
            "200": parts.answer("Calibrated predictions", "PredictAnswer", examples.PREDICT),
            **parts.problems(400, 408, 413, 415, 422),
        },
    }


def _listing(settings: SearchSettings) -> Document:
    return {
        "operationId": "listing",
        "summary": "A stored listing, and how fresh it is",
        "parameters": [parts.listing_path(), parts.language(settings)],
        "responses": {
            "200": parts.answer("The listing", "ListingAnswer", examples.LISTING),
            **parts.problems(404, 410, 422),
        },
    }


def _similar(settings: SearchSettings) -> Document:
    return {
        "operationId": "similar",
        "summary": "Other listings that look like a listing, by the nearest of its photos",
        "parameters": [
            parts.listing_path(),
            parts.image_query(),
            parts.number("k", "Number of listings", settings.default_k, settings.max_k),
            parts.language(settings),
            *parts.filters(),
            parts.flag("rerank", "Order by k-reciprocal neighbours instead of by distance", settings.rerank),
        ],
        "responses": {
            "200": parts.answer("Listings", "SimilarAnswer", examples.SIMILAR),
            **parts.problems(404, 409, 410, 422),
        },
    }


def _duplicates(settings: SearchSettings) -> Document:
    about = "Bits of 256 that may differ"
    return {
        "operationId": "duplicates",
        "summary": "Other listings with a photo that is nearly equal to a photo of this listing",
        "parameters": [
            parts.listing_path(),
            parts.image_query(),
            parts.number("radius", about, settings.duplicate_radius, settings.max_radius, least=0),
            parts.number("k", "At most so many listings", settings.max_k, settings.max_k),
            parts.language(settings),
        ],
        "responses": {
            "200": parts.answer("Listings", "DuplicatesAnswer", examples.DUPLICATES),
            **parts.problems(404, 409, 410, 422),
        },
    }


def _product() -> Document:
    schema = {"type": "string", "pattern": "^p-[0-9a-f]{20}$"}
    path = {"name": "product_id", "in": "path", "required": True, "schema": schema}
    return {
        "operationId": "product",
        "summary": "A product and its listings; an alias gives the product that it stands for",
        "parameters": [{**path, "example": examples.PRODUCT["product_id"]}],
        "responses": {
            "200": parts.answer("The product", "ProductAnswer", examples.PRODUCT),
            **parts.problems(404, 422),
        },
    }


def _batch(settings: SearchSettings) -> Document:
    schema = {"$ref": parts.REF.format(name="BatchRequest")}
    return {
        "operationId": "batch",
        "summary": f"Many listings in one read, at most {settings.max_batch}; the index is not asked",
        "parameters": [parts.language(settings)],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": examples.BATCH_REQUEST}},
        },
        "responses": {
            "200": parts.answer("Listings in the order of the request", "BatchAnswer", examples.BATCH),
            **parts.problems(400, 408, 413, 415, 422),
        },
    }


def _thumbnail() -> Document:
    return {
        "operationId": "thumbnail",
        "summary": "A small picture of one photo of a listing",
        "parameters": parts.photo_ids(),
        "responses": {
            "200": parts.picture("The thumbnail, at most 20 KB; WebP where an older version stored it", "jpeg", "webp"),
            **parts.problems(404, 422),
        },
    }


def _photo() -> Document:
    return {
        "operationId": "photo",
        "summary": f"A photo of a listing, fetched where its seller keeps it; at most {PHOTO_SIDE} pixels long",
        "parameters": parts.photo_ids(),
        "responses": {
            "200": parts.picture("The photo, at most 400 KB, without metadata", "webp"),
            **parts.problems(404, 410, 422),
        },
    }


def _recent(settings: SearchSettings) -> Document:
    return {
        "operationId": "recent",
        "summary": "The listings that became searchable last, the newest first",
        "parameters": [parts.number("n", "Number of listings", 24, settings.max_recent), parts.language(settings)],
        "responses": {
            "200": parts.answer("Listings", "RecentListings", examples.RECENT),
            **parts.problems(422),
        },
    }


def _feedback() -> Document:
    schema = {"$ref": parts.REF.format(name="FeedbackRequest")}
    content = {"application/json": {"schema": schema, "example": examples.FEEDBACK_REQUEST}}
    return {
        "operationId": "feedback",
        "summary": "Right or wrong, on a search result or on an offered label; kept only with consent",
        "parameters": [],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": parts.answer("It is kept", "FeedbackAnswer", examples.FEEDBACK),
            **parts.problems(400, 403, 408, 413, 415, 422),
        },
    }


def _operations() -> Document:
    html = {"200": {"description": "A page", "content": {"text/html": {"schema": {"type": "string"}}}}}
    text = {"200": {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    document = {
        "200": {"description": "This document", "content": {"application/json": {"schema": {"type": "object"}}}}
    }
    return {
        "/": {"get": {"operationId": "page", "summary": "The search page", "responses": html}},
        "/page/{name}": {"get": _page_part()},
        "/openapi.json": {"get": {"operationId": "openapi", "summary": "This document", "responses": document}},
        "/healthz": {"get": _probe("live", "503: restart this process", examples.HEALTHZ)},
        "/readyz": {
            "get": _probe("ready", "503: send no requests yet; `stale` does not change the status", examples.READYZ)
        },
        "/metrics": {"get": {"operationId": "metrics", "summary": "Metrics", "responses": text}},
    }


def _page_part() -> Document:
    kinds = ("text/css", "text/html", "text/javascript", "image/svg+xml")
    content = {kind: {"schema": {"type": "string"}} for kind in kinds}
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "example": "app.js"}
    problem = {MEDIA_TYPE: {"schema": {"$ref": parts.REF.format(name="ProblemAnswer")}}}
    return {
        "operationId": "page_part",
        "summary": "A script, style sheet or picture of the search page",
        "parameters": [name],
        "responses": {
            "200": {"description": "The part", "content": content},
            "404": {"description": "No such part", "content": problem},
        },
    }


def _probe(field: str, summary: str, example: Document) -> Document:
    schema = {"type": "object", "required": [field], "properties": {field: {"type": "boolean"}}}
    content = {"application/json": {"schema": schema, "example": example}}
    responses = {status: {"description": field, "content": content} for status in ("200", "503")}
    return {"operationId": field, "summary": summary, "responses": responses}
