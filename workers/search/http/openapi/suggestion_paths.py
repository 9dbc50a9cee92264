"""The part of the description about products: prices, what goes with a listing, and scenes."""

from __future__ import annotations

from typing import Any

from workers.search import suggestion_answers
from workers.search.http.openapi import examples, parts
from workers.search.http.openapi.parts import Document
from workers.search.settings import SearchSettings

TYPES = (suggestion_answers.PriceAnswer, suggestion_answers.GoesWithAnswer, suggestion_answers.ScenesAnswer)

PRICE: dict[str, Any] = {
    "listing_id": "shop/mug-17",
    "epoch": "0a1b2c3d4e5f",
    "price": examples.PRICE_SUGGESTION,
    "support": 5,
    "stale": False,
    "took_s": 0.0121,
}
GOES_WITH: dict[str, Any] = {
    "listing_id": "shop/mug-17",
    "occasions": 31,
    "companions": [
        {
            "listing_id": "shop/saucer-4",
            "title": "Saucer, teal glaze",
            "category": "kitchen",
            "price": {"amount": "4.00", "currency": "EUR"},
            "tags": ["Saucer", "Teal"],
            "thumbnail": "/v1/thumbnail?listing_id=shop%2Fsaucer-4&image_id=front",
            "from": "counts",
            "together": 12,
            "score": 0.4112,
        }
    ],
    "stale": False,
    "took_s": 0.0034,
}
SCENES: dict[str, Any] = {
    "listing_id": "shop/mug-17",
    "epoch": "0a1b2c3d4e5f",
    "radius": 64,
    "scenes": [examples.NEIGHBOUR | {"listing_id": "shop/table-2", "distance": 41, "likeness": 0.6797}],
    "stale": False,
    "took_s": 0.0088,
}


def paths(settings: SearchSettings) -> Document:
    """The paths, each with its operation."""
    return {
        "/v1/listings/{listing_id}/price": {"get": _price()},
        "/v1/listings/{listing_id}/goes-with": {"get": _goes_with(settings)},
        "/v1/listings/{listing_id}/scenes": {"get": _scenes(settings)},
    }


def price_parameters() -> list[Document]:
    """The parameters `price` and `currency` of a request with a photo."""
    return [parts.flag("price", "Suggest a price as well, of the listings that look like it", False), _currency()]


def _currency() -> Document:
    about = "Currency of the suggestion (ISO 4217). Default: the listing's own, or the one of most sellers"
    return {
        "name": "currency",
        "in": "query",
        "description": about,
        "schema": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "example": "EUR",
    }


def _price() -> Document:
    return {
        "operationId": "price",
        "summary": "A price to suggest, from listings of the same product and of products that look like it",
        "parameters": [parts.listing_path(), _currency()],
        "responses": {
            "200": parts.answer("The price, or null", "PriceAnswer", PRICE),
            **parts.problems(404, 409, 410, 422),
        },
    }


def _goes_with(settings: SearchSettings) -> Document:
    return {
        "operationId": "goes_with",
        "summary": "Listings that go with a listing: they were together in carts, views or scenes",
        "parameters": [
            parts.listing_path(),
            parts.number("k", "At most so many listings", settings.default_k, settings.max_k),
            parts.language(settings),
        ],
        "responses": {
            "200": parts.answer("Listings", "GoesWithAnswer", GOES_WITH),
            **parts.problems(404, 409, 410, 422),
        },
    }


def _scenes(settings: SearchSettings) -> Document:
    return {
        "operationId": "scenes",
        "summary": "Photos of other listings, in a part of which this product appears",
        "parameters": [
            parts.listing_path(),
            parts.number("radius", "Bits of 256 that may differ", settings.max_radius, settings.max_radius, least=0),
            parts.number("k", "At most so many photos", settings.default_k, settings.max_k),
            parts.language(settings),
        ],
        "responses": {
            "200": parts.answer("Photos", "ScenesAnswer", SCENES),
            **parts.problems(404, 409, 410, 422),
        },
    }
