"""Reads the parameters of the query and checks their limits. Each error names the field and what would be right."""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.requests import Request

from engines.pixels import Box
from workers.http.problems import Problem
from workers.search.find.filters import Filters
from workers.search.find.looking import Detect

_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_DETECTS: dict[str, Detect] = {"off": "off", "subject": "subject", "nearest": "nearest", "all": "all"}
_MAX_VALUES = 16  # of one filter
_MAX_VALUE = 256  # characters: what an event's category may have


def bad(detail: str) -> Problem:
    """A Problem 422: a parameter is wrong."""
    return Problem(422, "bad-parameter", detail)


def identifier(text: str, field: str) -> str:
    """Check the id of a listing or a photo. Raises Problem 422."""
    if not _ID.fullmatch(text):
        raise bad(f"{field}: 1 to 128 characters of A-Z a-z 0-9 . _ : / - are an id; this is none")
    return text


def optional_identifier(request: Request, field: str) -> str | None:
    """An id in the query; None if it is not given. Raises Problem 422."""
    text = request.query_params.get(field)
    return None if text is None else identifier(text, field)


def language(request: Request, default: str, known: Collection[str] = ()) -> str:
    """The language tag in `lang`; else the one of `known` that the reader prefers by the header `Accept-Language` (RFC
    9110 §12.5.4); else `default`. A tag is known if it or its first part is. Raises Problem 422."""
    chosen = request.query_params.get("lang")
    if chosen is None:
        preferred = _preferred(request.headers.get("accept-language", "")[:_MAX_VALUE])
        return next((tag for tag in preferred if tag in known or tag.partition("-")[0] in known), default)
    if not _LANGUAGE.fullmatch(chosen):
        raise bad("lang: not a language tag; give one like en or zh-Hant")
    return chosen


def _preferred(header: str) -> list[str]:
    """The tags of an `Accept-Language`, the most preferred first. What is no tag, or has weight 0, is left out."""
    found = []
    for part in header.split(","):
        tag, _, weight = (text.strip() for text in part.partition(";"))
        try:
            quality = float(weight.removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if 0 < quality <= 1 and _LANGUAGE.fullmatch(tag):
            found.append((-quality, tag))
    return [tag for _, tag in sorted(found, key=lambda one: one[0])]


def number(request: Request, name: str, default: int, most: int, least: int = 1) -> int:
    """A whole number in the query. Raises Problem 422."""
    text = request.query_params.get(name, str(min(default, most)))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and least <= int(text) <= most):
        raise bad(f"{name}: {text[:20]!r} is not a whole number from {least} to {most}")
    return int(text)


def flag(request: Request, name: str, default: bool) -> bool:
    """A flag in the query: `true` or `false`. Raises Problem 422."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if text.lower() not in _FLAGS:
        raise bad(f"{name}: {text[:20]!r} is neither true nor false")
    return _FLAGS[text.lower()]


def currency(request: Request) -> str | None:
    """`currency`: a code of ISO 4217; None if it is not given. Raises Problem 422."""
    text = request.query_params.get("currency")
    if text is not None and not _CURRENCY.fullmatch(text):
        raise bad(f"currency: {text[:20]!r} is no code of ISO 4217; give three capital letters, such as EUR")
    return text


def box(request: Request) -> Box | None:
    """`box`: left,top,right,bottom as shares of the upright photo."""
    text = request.query_params.get("box")
    if text is None:
        return None
    parts = text.split(",")
    try:
        edges = [float(part) for part in parts if len(part) <= 32]
    except ValueError:
        edges = []
    if len(edges) != 4 or len(parts) != 4:
        raise bad("box: give left,top,right,bottom as shares of the photo's sides, like 0.1,0.2,0.9,0.8")
    try:
        return Box(*edges)
    except ValueError as error:
        raise bad(str(error)) from None


def detect(request: Request, default: Detect, *, possible: bool) -> Detect:
    """`detect`: `off`, `subject`, `nearest` or `all`. A box in the request needs no detector. Raises Problem 422, also
    if something is to be detected and there is no detector (`possible`)."""
    chosen = request.query_params.get("detect")
    if chosen is None:
        return "off" if "box" in request.query_params else default
    if chosen not in _DETECTS:
        raise bad(f"detect: {chosen[:20]!r} is none of off, subject, nearest, all")
    if chosen != "off" and "box" in request.query_params:
        raise bad("detect: box says already where the product is; give one of the two")
    if chosen != "off" and not possible:
        raise bad("detect: this service has no detector; give detect.bundle in its configuration")
    return _DETECTS[chosen]


def grouped(request: Request) -> bool:
    """`group`: `product`, or nothing. Raises Problem 422."""
    text = request.query_params.get("group")
    if text not in (None, "product"):
        raise bad(f"group: {text[:20]!r} is not product, which is all that listings are grouped by")
    return text is not None


def filters(request: Request) -> Filters:
    """The filters `category` and `state`, each of which may be given several times. Raises Problem 422."""
    found = {}
    for name in ("category", "state"):
        values = request.query_params.getlist(name)
        if len(values) > _MAX_VALUES or any(not 1 <= len(value) <= _MAX_VALUE for value in values):
            raise bad(f"{name}: at most {_MAX_VALUES} of them, each of 1 to {_MAX_VALUE} characters")
        found[name] = frozenset(values)
    return Filters(found["category"], found["state"])
