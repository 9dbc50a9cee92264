"""Reads the JSON bodies of requests within limits, and writes those of answers."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from workers.http.problems import Problem

T = TypeVar("T")


async def json_body(request: Request, kind: type[T], max_bytes: int, timeout_s: float) -> T:
    """The body of a request, decoded as `kind`. Raises Problem 400, 408, 413, 415 or 422."""
    if media_type(request) != "application/json":
        raise Problem(415, "not-json", "content-type: this takes a body of application/json; say so")
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise Problem(413, "too-large", f"body: more than {max_bytes:,} bytes; ask for fewer at once")
    except TimeoutError:
        raise Problem(408, "too-slow", f"body: not complete within {timeout_s:g} s; send it again") from None
    except ClientDisconnect:
        raise Problem(400, "incomplete", "body: the connection ended before it was complete; send it again") from None
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, "bad-field", f"{error}; see /openapi.json for the form of the body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "bad-json", "body: not JSON; see /openapi.json for its form") from None


def media_type(request: Request) -> str:
    """The media type of the body, without its parameters; empty if the request has none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def answered(answer: msgspec.Struct) -> Response:
    """The answer as JSON. No cache may keep it."""
    return Response(msgspec.json.encode(answer), media_type="application/json", headers={"cache-control": "no-store"})
