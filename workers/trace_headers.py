"""The headers of a record that carry the context of a trace (W3C Trace Context), which any producer can write."""

from __future__ import annotations

from schemas.envelope import Headers, header

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
_NAMES = (TRACEPARENT, TRACESTATE)
_MOST_BYTES = 512  # of a header that is used; W3C asks for 55 of one and 512 of the other


def context_headers(headers: Headers) -> Headers:
    """The headers that carry a context, for a message that keeps no others. What is too long to be one is left out."""
    return tuple(pair for pair in headers if pair[0] in _NAMES and len(pair[1]) <= _MOST_BYTES)


def without_context(headers: Headers) -> Headers:
    """The other headers."""
    return tuple(pair for pair in headers if pair[0] not in _NAMES)


def context_of(headers: Headers) -> dict[str, str]:
    """The context in the headers of a record, for OpenTelemetry's own parser."""
    found = {name: header(headers, name) for name in _NAMES}
    return {name: text for name, text in found.items() if text is not None and len(text) <= _MOST_BYTES}
