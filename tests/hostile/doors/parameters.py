"""Parameters of HTTP requests: numbers, flags, boxes, filters, ids and languages from hostile query strings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import quote

from starlette.requests import Request

from tests.hostile.case import Input
from workers.http.problems import Problem
from workers.search.http import params

REFUSALS = (Problem,)
MOST_MB = 300
VALUES = (
    "",
    "0",
    "-1",
    "١٢",
    "1e3",
    "999999999999",
    "true",
    "yes",
    "nan,nan,1,1",
    "inf,0,1,1",
    "0,0,1,1",
    "0.4,0.4,0.4,0.4",
    "0,0,1",
    "," * 5000,
    "a" * 100_000,
    "\0",
    "\x1b[2J",
    "../../etc/passwd",
    "%00",
    "en-" + "x" * 5000,
    "ok",
    "\u202e",
    "<script>",
    "²",
)
NAMES = ("k", "fine", "box", "category", "state", "lang", "image_id")


def request(query: bytes) -> Request:
    """A request with a query string."""
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": query, "headers": []})


def honest(folder: Path) -> None:
    """Honest parameters have their values."""
    asked = request(b"k=7&fine=true&box=0,0,.5,1&category=mug")
    assert (params.number(asked, "k", 10, 100), params.flag(asked, "fine", False)) == (7, True)
    box = params.box(asked)
    assert box is not None
    assert (box.right, params.filters(asked).categories) == (0.5, {"mug"})


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is taken lies within its bounds."""
    while True:
        pairs = [f"{rng.choice(NAMES)}={quote(rng.choice(VALUES))}" for _ in range(rng.choice((1, 1, 2, 40)))]
        query = "&".join(pairs).encode()
        if rng.random() < 0.2:
            query += rng.randbytes(20)
        yield Input(query[:60].decode("latin-1"), lambda query=query: _offer(query))


def _offer(query: bytes) -> None:
    asked = request(query)
    assert 1 <= params.number(asked, "k", 10, 100) <= 100
    assert params.flag(asked, "fine", True) in (True, False)
    box = params.box(asked)
    assert box is None or 0 <= box.left < box.right <= 1
    assert len(params.language(asked, "en")) <= 200_000
    assert params.optional_identifier(asked, "image_id") is None or len(asked.query_params["image_id"]) <= 128
    params.filters(asked)
