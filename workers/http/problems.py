"""HTTP errors as problem+json (RFC 9457): `type`, `title`, `status`, and a `detail` that names the field and the
remedy."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"
FAULT = "an internal error; the log of the worker has the details. Try again"
_TYPE = "urn:groknet:problem:"


class Problem(Exception):
    """Raise it anywhere in a request to answer with it. `code` is stable and for programs, `detail` is for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """`members`: further fields of the body."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    def response(self) -> JSONResponse:
        """The HTTP answer. If `retry_after_s` is set, it has a header that says when to come back."""
        body = {
            "type": _TYPE + self.code,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        } | self.members
        headers = self.headers | ({} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)})
        return JSONResponse(body, self.status, headers=headers, media_type=MEDIA_TYPE)


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {
        404: f"path: nothing is served at {request.url.path}; see /openapi.json",
        405: f"method: {request.method} is not served at {request.url.path}; see /openapi.json",
    }
    codes = {404: "no-such-path", 405: "no-such-method"}
    answer = Problem(
        error.status_code,
        codes.get(error.status_code, "http-error"),
        details.get(error.status_code, error.detail),
    ).response()
    answer.headers.update(error.headers or {})
    return answer


def _fault(_: Request, __: Exception) -> Response:
    return Problem(500, "fault", FAULT).response()


HANDLERS: Mapping[Any, Any] = {Problem: _problem, HTTPException: _http_error, Exception: _fault}
"""For `Starlette(exception_handlers=...)`. With them an application answers every error with problem+json."""
