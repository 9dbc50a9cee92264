"""The OpenAPI 3.1 description: paths and examples kept here by hand, shapes taken from the types that are answered."""

from __future__ import annotations

from typing import Any

import msgspec

from workers.problems import MEDIA_TYPE
from workers.search import answers, examples
from workers.search.settings import SearchSettings

_ANSWERS = (
    answers.SearchAnswer,
    answers.ListingAnswer,
    answers.RecentListings,
    answers.ProblemAnswer,
)
_REF = "#/components/schemas/{name}"
_PROBLEMS = {
    400: "The request cannot be read",
    404: "Not known",
    408: "The photo did not arrive in time",
    410: "The listing was removed",
    413: "Too many bytes or pixels",
    415: "Not a JPEG, PNG or WebP photo",
    422: "A parameter or the photo is at fault; `detail` names it",
    500: "A fault of ours",
    503: "Busy, starting, or the index or store is away; come back after `Retry-After` seconds",
}

Document = dict[str, Any]


def describe(settings: SearchSettings) -> Document:
    """The whole document, with this service's own limits."""
    _, components = msgspec.json.schema_components(_ANSWERS, ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GrokNet search",
            "version": "1",
            "summary": "A photo in; calibrated predictions and the listings that look like it out.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/search": {"post": _search(settings)},
            "/v1/listings/{listing_id}": {"get": _listing(settings)},
            "/v1/thumbnail": {"get": _thumbnail()},
            "/v1/recent": {"get": _recent(settings)},
            **_operations(),
        },
        "components": {"schemas": components},
    }


def _search(settings: SearchSettings) -> Document:
    photo = {"type": "string", "format": "binary", "maxLength": settings.max_upload_bytes}
    form = {"type": "object", "required": ["photo"], "properties": {"photo": photo}}
    return {
        "operationId": "search",
        "summary": "Find the listings that look like a photo",
        "parameters": [_number("k", "Listings wanted", settings.default_k, settings.max_k), _language(settings)],
        "requestBody": {
            "required": True,
            "description": f"JPEG, PNG or WebP, at most {settings.max_upload_bytes:,} bytes.",
            "content": {
                "image/jpeg": {"schema": photo},
                "image/png": {"schema": photo},
                "image/webp": {"schema": photo},
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": _answer("Predictions and neighbours", "SearchAnswer", examples.SEARCH),
            **_problems(400, 408, 413, 415, 422, 500, 503),
        },
    }


def _listing(settings: SearchSettings) -> Document:
    listing_id = {
        "name": "listing_id",
        "in": "path",
        "required": True,
        "description": "May hold slashes, as they are or percent-encoded.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,128}$"},
        "example": "shop/mug-17",
    }
    return {
        "operationId": "listing",
        "summary": "What is stored of a listing, and how fresh it is",
        "parameters": [listing_id, _language(settings)],
        "responses": {
            "200": _answer("The listing", "ListingAnswer", examples.LISTING),
            **_problems(404, 410, 422, 500, 503),
        },
    }


def _thumbnail() -> Document:
    ids = [
        {
            "name": name,
            "in": "query",
            "required": True,
            "schema": {"type": "string", "maxLength": 128},
            "example": value,
        }
        for name, value in (("listing_id", "shop/mug-17"), ("image_id", "front"))
    ]
    webp = {"description": "The thumbnail, at most 10 KB", "content": {"image/webp": {"schema": {"type": "string"}}}}
    return {
        "operationId": "thumbnail",
        "summary": "A small WebP of one photo of a listing",
        "parameters": ids,
        "responses": {"200": webp, **_problems(404, 422, 500, 503)},
    }


def _recent(settings: SearchSettings) -> Document:
    return {
        "operationId": "recent",
        "summary": "The listings that became searchable last, newest first",
        "parameters": [_number("n", "Listings wanted", 24, settings.max_recent), _language(settings)],
        "responses": {
            "200": _answer("Listings", "RecentListings", examples.RECENT),
            **_problems(422, 500, 503),
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
        "/openapi.json": {"get": {"operationId": "openapi", "summary": "This document", "responses": document}},
        "/healthz": {"get": _probe("live", "503: restart this process", examples.HEALTHZ)},
        "/readyz": {"get": _probe("ready", "503: send it nothing yet; `stale` is told apart", examples.READYZ)},
        "/metrics": {"get": {"operationId": "metrics", "summary": "Metrics", "responses": text}},
    }


def _probe(field: str, summary: str, example: Document) -> Document:
    schema = {"type": "object", "required": [field], "properties": {field: {"type": "boolean"}}}
    content = {"application/json": {"schema": schema, "example": example}}
    responses = {status: {"description": field, "content": content} for status in ("200", "503")}
    return {"operationId": field, "summary": summary, "responses": responses}


def _answer(description: str, name: str, example: Document) -> Document:
    content = {"schema": {"$ref": _REF.format(name=name)}, "example": example}
    return {"description": description, "content": {"application/json": content}}


def _problems(*statuses: int) -> Document:
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="ProblemAnswer")}, "example": examples.PROBLEM}}
    retry = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return {
        str(status): {
            "description": _PROBLEMS[status],
            "content": content,
            **({"headers": retry} if status == 503 else {}),
        }
        for status in statuses
    }


def _number(name: str, description: str, default: int, most: int) -> Document:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": min(default, most)}
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _language(settings: SearchSettings) -> Document:
    schema = {"type": "string", "default": settings.language}
    return {"name": "lang", "in": "query", "description": "Of display names (BCP 47)", "schema": schema}
