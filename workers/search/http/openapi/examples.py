"""Example answers for the description; a test holds each to its schema."""

from __future__ import annotations

from typing import Any

_PREDICTIONS: dict[str, Any] = {
    "product_type": [
        {"label": "mug", "name": "Mug", "probability": 0.97, "offered": True},
        {"label": "vase", "name": "Vase", "probability": 0.02, "offered": False},
    ],
    "colour": [{"label": "teal", "name": "Teal", "probability": 0.81, "offered": True}],
}
_THUMBNAIL = "/v1/thumbnail?listing_id=shop%2Fmug-17&image_id=front"
_FRESHNESS: dict[str, Any] = {
    "event_time": 1790000000000000,
    "uploaded_at": 1790000000100000,
    "stored_at": 1790000000540000,
    "indexed_at": 1790000000790000,
    "searchable": True,
    "upload_to_stored_s": 0.44,
    "upload_to_searchable_s": 0.69,
}
_ASKED_OF_THE_INDEX = (
    "uploaded_at",
    "indexed_at",
    "searchable",
    "upload_to_stored_s",
    "upload_to_searchable_s",
)
_HASH = "6d0f" * 16
_PRICE = {"amount": "12.50", "currency": "EUR"}

NEIGHBOUR: dict[str, Any] = {
    "listing_id": "shop/mug-17",
    "image_id": "front",
    "box": [0.25, 0.1875, 0.75, 0.875],
    "distance": 11,
    "likeness": 0.9377,
    "relevance": None,
    "title": "Stoneware mug, teal glaze",
    "category": "kitchen",
    "price": _PRICE,
    "tags": ["Mug", "Teal"],
    "thumbnail": _THUMBNAIL,
}
_BOX = [0.1, 0.15, 0.85, 0.95]
PRICE_SUGGESTION: dict[str, Any] = {
    "point": "12.40",
    "low": "9.10",
    "high": "16.90",
    "currency": "EUR",
    "from": "copies",
    "sellers": 9,
    "listings": 11,
    "left_out": 1,
}

SEARCH: dict[str, Any] = {
    "model_version": "2026.11",
    "epoch": "0a1b2c3d4e5f",
    "hash": _HASH,
    "listing_id": None,
    "image_ids": [],
    "box": _BOX,
    "predictions": _PREDICTIONS,
    "applies": ["product_type", "colour"],
    "categories": [
        {"category": "kitchen", "share": 0.91, "own": 0.97, "neighbours": 0.86, "voters": ["shop/mug-17"]},
        {"category": "decoration", "share": 0.08, "own": 0.0, "neighbours": 0.14, "voters": ["shop/vase-2"]},
    ],
    "category_vote": [{"category": "kitchen", "share": 0.93, "detector": 0.88, "neighbours": 0.86}],
    "neighbours": [NEIGHBOUR],
    "close": True,
    "detected": [{"box": _BOX, "kind": "mug", "score": 0.88}],
    "boxes": [],
    "frames": [0],
    "price": PRICE_SUGGESTION,
    "query": None,
    "reranked": False,
    "stale": False,
    "took_s": 0.0613,
}
TYPED: dict[str, Any] = {
    "model_version": "2026.11",
    "epoch": "0a1b2c3d4e5f",
    "query": {
        "text": "teal mugg from grandma",
        "titles": True,
        "phrases": [
            {
                "text": "teal",
                "understood": "label",
                "corrected": None,
                "labels": [{"head": "colour", "label": "teal", "name": "Teal"}],
            },
            {
                "text": "mugg",
                "understood": "label",
                "corrected": "mug",
                "labels": [{"head": "product_type", "label": "mug", "name": "Mug"}],
            },
            {"text": "grandma", "understood": "no", "corrected": None, "labels": []},
        ],
    },
    "listings": [
        {
            "listing_id": "shop/mug-17",
            "image_id": "front",
            "box": None,
            "relevance": 0.9741,
            "title": "Stoneware mug, teal glaze",
            "category": "kitchen",
            "price": _PRICE,
            "tags": ["Mug", "Teal"],
            "thumbnail": _THUMBNAIL,
        }
    ],
    "complete": True,
    "stale": False,
    "took_s": 0.0043,
}
SEARCH_BY_LISTING: dict[str, Any] = {"listing_id": "shop/mug-16", "image_id": "front"}
PREDICT: dict[str, Any] = {
    "model_version": "2026.11",
    "epoch": "0a1b2c3d4e5f",
    "hash": _HASH,
    "box": None,
    "category": [
        {"head": "product_type", "label": "mug", "name": "Mug", "probability": 0.97, "offered": True},
        {"head": "product_type", "label": "vase", "name": "Vase", "probability": 0.02, "offered": False},
    ],
    "attributes": [{"head": "colour", "label": "teal", "name": "Teal", "probability": 0.81, "offered": True}],
    "title_words": [{"head": "query", "label": "mug", "name": "mug", "probability": 0.93, "offered": True}],
    "predictions": _PREDICTIONS,
    "applies": ["product_type", "colour"],
    "duplicates": [NEIGHBOUR],
    "detected": [],
    "boxes": [],
    "price": PRICE_SUGGESTION,
    "took_s": 0.0402,
}
SIMILAR: dict[str, Any] = {
    "listing_id": "shop/mug-16",
    "image_ids": ["front", "side"],
    "epoch": "0a1b2c3d4e5f",
    "neighbours": [NEIGHBOUR],
    "reranked": False,
    "stale": False,
    "took_s": 0.0081,
}
DUPLICATES: dict[str, Any] = {
    "listing_id": "shop/mug-16",
    "image_ids": ["front", "side"],
    "epoch": "0a1b2c3d4e5f",
    "radius": 24,
    "duplicates": [NEIGHBOUR],
    "complete": True,
    "stale": False,
    "took_s": 0.0079,
}
PRODUCT: dict[str, Any] = {
    "product_id": "p-2206044a9109ae611fd0",
    "alias": None,
    "founded": 1_767_225_600_000_000,
    "size": 2,
    "listing_ids": ["shop/mug-17", "shop-7/mug-000123"],
    "photo": {
        "listing_id": "shop-7/mug-000123",
        "image_id": "front",
        "title": "Stoneware mug, teal glaze",
        "thumbnail": "/v1/thumbnail?listing_id=shop-7%2Fmug-000123&image_id=front",
    },
}
LISTING: dict[str, Any] = {
    "listing_id": "shop/mug-17",
    "event_id": "7f9c",
    "title": "Stoneware mug, teal glaze",
    "category": "kitchen",
    "price": _PRICE,
    "seller_id": "s-4711",
    "state": "active",
    "status": "partial",
    "model_version": "2026.11",
    "epoch": "0a1b2c3d4e5f",
    "predictions": _PREDICTIONS,
    "applies": ["product_type", "colour"],
    "images": [
        {
            "image_id": "front",
            "box": None,
            "hash": _HASH,
            "predictions": _PREDICTIONS,
            "applies": ["product_type", "colour"],
            "thumbnail": _THUMBNAIL,
        }
    ],
    "bad_images": [{"image_id": "back", "stage": "decode", "error": "truncated"}],
    "freshness": _FRESHNESS,
    "product": PRODUCT["product_id"],
}
BATCH_REQUEST: dict[str, Any] = {"listing_ids": ["shop/mug-17", "shop/mug-3", "shop/mug-99"]}
BATCH: dict[str, Any] = {
    "listings": [
        LISTING | {"freshness": _FRESHNESS | dict.fromkeys(_ASKED_OF_THE_INDEX), "product": None},
    ],
    "removed": ["shop/mug-3"],
    "missing": ["shop/mug-99"],
}
RECENT: dict[str, Any] = {
    "listings": [
        {
            "listing_id": "shop/mug-17",
            "title": "Stoneware mug, teal glaze",
            "tags": ["Mug", "Teal"],
            "thumbnail": _THUMBNAIL,
            "freshness": _FRESHNESS,
        }
    ]
}
PROBLEM: dict[str, Any] = {
    "type": "urn:groknet:problem:not-an-image",
    "title": "Unsupported Media Type",
    "status": 415,
    "detail": "photo: the bytes are not a photo; send a JPEG, PNG, WebP, HEIC or AVIF photo",
}
HEALTHZ: dict[str, Any] = {"live": True, "started": True, "heartbeat_age_s": 0.4, "batch_age_s": 0.0}
READYZ: dict[str, Any] = {"ready": True, "stale": False, "waiting_for": ""}
FEEDBACK_REQUEST: dict[str, Any] = {
    "consent": True,
    "epoch": "5cdf0d4eb1a5",
    "hash": _HASH,
    "right": False,
    "listing_id": "shop/mug-17",
}
FEEDBACK: dict[str, Any] = {"kept": True, "days": 30}
