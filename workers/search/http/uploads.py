"""Reads the photos of a request, a raw body or the form field `photo`, and the words beside them, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from schemas.errors import Invalid
from workers.http.problems import Problem
from workers.search.http.json_bodies import media_type

FIELD = "photo"
TYPED = "q"
FORM_OVERHEAD = 16_384  # boundaries and part headers around the photo
_STATUS = {
    "not_an_image": 415,
    "format_not_allowed": 415,
    "empty": 422,
    "too_many_pixels": 413,
    "over_budget": 413,
}


@dataclass(frozen=True, slots=True)
class Sent:
    """The bytes of each photo of a request, and the text of its form field `q`; None if it has none."""

    photos: list[bytes]
    q: str | None = None


async def read_photos(
    request: Request, max_bytes: int, timeout_s: float, arrived: Callable[[int], None], most: int = 1
) -> Sent:
    """The bytes of each photo: one, or up to `most` in a form, with at most `max_bytes` together. `arrived` is called
    with the number of bytes that have just arrived, and may refuse them. A form with `q` needs no photo.

    Raises:
        Problem: 400 incomplete or too many photos, 408 too slow, 413 too large, 415 not the media type of a photo,
            422 no photo.
    """
    kind = media_type(request)
    form = kind == "multipart/form-data"
    if not form and kind not in ("", "application/octet-stream") and not kind.startswith("image/"):
        detail = f"content-type: {kind} is no photo; send image/jpeg, image/png or image/webp, or a form"
        raise Problem(415, "not-a-photo", detail)
    try:
        async with asyncio.timeout(timeout_s):
            body = await _body(request, max_bytes + (FORM_OVERHEAD if form else 0), max_bytes, arrived)
    except TimeoutError:
        raise Problem(408, "too-slow", f"body: not complete within {timeout_s:g} s; send a smaller photo") from None
    except ClientDisconnect:
        raise Problem(400, "incomplete", "body: the connection ended before it was complete; send it again") from None
    sent = await _from_form(request, body, most) if form else Sent([body])
    if sum(map(len, sent.photos)) > max_bytes:
        raise _too_large(max_bytes)
    if not all(sent.photos):
        raise Problem(422, "empty", "body: no bytes; send the photo as the body, or as the form field 'photo'")
    return sent


def photo_problem(error: Invalid) -> Problem:
    """The problem that answers a photo which cannot be used."""
    status = _STATUS.get(error.error, 422)
    return Problem(status, error.error.replace("_", "-"), f"photo: {error.message}")


async def _body(request: Request, limit: int, told: int, arrived: Callable[[int], None]) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(told)
    body = bytearray()
    async for chunk in request.stream():
        arrived(len(chunk))
        body += chunk
        if len(body) > limit:
            raise _too_large(told)
    return bytes(body)


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", f"photo: larger than {limit:,} bytes; send it scaled down")


async def _from_form(request: Request, body: bytes, most: int) -> Sent:
    async def once() -> AsyncIterator[bytes]:
        yield body
        yield b""

    try:
        form = await MultiPartParser(request.headers, once(), max_files=most, max_fields=8).parse()  # type: ignore[arg-type]
    except (MultiPartException, KeyError) as error:
        if str(getattr(error, "message", "")).startswith("Too many files"):
            one = "one photo" if most == 1 else f"at most {most} photos"
            detail = f"photo: the form has more files than this request may have, which is {one}; send fewer"
            raise Problem(400, "too-many-photos", detail) from None
        reason = getattr(error, "message", "it names no boundary")
        raise Problem(400, "bad-form", f"body: not a multipart form ({reason}); send one with a file 'photo'") from None
    try:
        photos = [await field.read() for field in form.getlist(FIELD) if isinstance(field, UploadFile)]
        typed = [field for field in form.getlist(TYPED) if isinstance(field, str)]
        if len(typed) < len(form.getlist(TYPED)):
            raise Problem(422, "bad-parameter", "q: it came as a file; send the words as a field without a file name")
        if len(typed) > 1:
            raise Problem(422, "bad-parameter", "q: it is there twice; give it once")
        if not photos and not typed:
            raise Problem(422, "no-photo", "photo: the form has no file of that name; add it")
        return Sent(photos, typed[0] if typed else None)
    finally:
        await form.close()
