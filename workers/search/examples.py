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
_HASH = "6d0f" * 16

SEARCH: dict[str, Any] = {
    "model_version": "2026.11",
    "epoch": "0a1b2c3d4e5f",
    "hash": _HASH,
    "predictions": _PREDICTIONS,
    "neighbours": [
        {
            "listing_id": "shop/mug-17",
            "image_id": "front",
            "distance": 11,
            "title": "Stoneware mug, teal glaze",
            "category": "kitchen",
            "tags": ["Mug", "Teal"],
            "thumbnail": _THUMBNAIL,
        }
    ],
    "stale": False,
    "took_s": 0.0613,
}
LISTING: dict[str, Any] = {
    "listing_id": "shop/mug-17",
    "event_id": "7f9c",
    "title": "Stoneware mug, teal glaze",
    "category": "kitchen",
    "state": "active",
    "status": "partial",
    "model_version": "2026.11",
    "epoch": "0a1b2c3d4e5f",
    "predictions": _PREDICTIONS,
    "images": [{"image_id": "front", "hash": _HASH, "predictions": _PREDICTIONS, "thumbnail": _THUMBNAIL}],
    "bad_images": [{"image_id": "back", "stage": "decode", "error": "truncated"}],
    "freshness": _FRESHNESS,
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
    "detail": "photo: the bytes are not a photo; send JPEG, PNG or WebP",
}
HEALTHZ: dict[str, Any] = {"live": True, "started": True, "heartbeat_age_s": 0.4, "batch_age_s": 0.0}
READYZ: dict[str, Any] = {"ready": True, "stale": False, "waiting_for": ""}
