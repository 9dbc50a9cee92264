"""Traces: one listing is followed from its upload to the index, across processes, by OpenTelemetry.

Off unless `tracing.url` is set. Then every verb of this module returns after one `if`. The spans of one listing:

    send listings.uploaded ─▶ process listings.uploaded ─▶ send listings.hashes.EPOCH ─▶ process listings.hashes.EPOCH
                               ├ fetch · decode · infer · store · publish
                               └ (a span `batch`, in a trace of its own, links all events of an engine's batch)

The context travels in the header `traceparent` of every record (W3C Trace Context). Spans wait in a bounded queue,
which a thread empties, so a collector that is slow or away delays no event. What does not fit into it is dropped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from schemas.envelope import Headers
from schemas.errors import ConfigError
from workers.streams.base import Record
from workers.watching.quiet_logs import quieten

if TYPE_CHECKING:
    from workers.tracing_spans import Spans

_NOTHING = nullcontext()
_now: Spans | None = None
_batches = count(1)
quieten(logging.getLogger("opentelemetry"))


class TracingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Traces by OpenTelemetry, which need the extra `[tracing]`."""

    url: str = ""
    """The collector's address for OTLP over HTTP, such as `http://127.0.0.1:4318`. If it is empty, there are no
    traces."""
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """The share of listings that are followed. The process that uploads a listing decides, and all others keep to
    it."""
    queue: Annotated[int, Meta(ge=512, le=1_000_000)] = 8192
    """At most so many finished spans wait to be sent. What is above that is dropped."""


class Traced(Protocol):
    """An event with the span of its processing: what a worker holds while it has the event in hand."""

    record: Record
    span: Any
    """None while tracing is off, or if this listing is not followed."""


def begin(settings: TracingSettings, name: str) -> Callable[[], None]:
    """Turn tracing on in this process, which is called `name`, if `settings.url` is set. Returns what turns it off and
    sends the last spans, which takes 3 s at most.

    Raises:
        ConfigError: OpenTelemetry is not installed, or the address is none.
    """
    global _now  # noqa: PLW0603  # one process has one tracer
    if not settings.url:
        return _do_nothing
    if not settings.url.startswith(("http://", "https://")):
        raise ConfigError(f"tracing.url: {settings.url!r} is no http address; give one such as http://127.0.0.1:4318")
    try:
        from workers.tracing_spans import Spans
    except ModuleNotFoundError as missing:
        text = f"tracing.url is set, but {missing.name} is not installed: pip install 'groknet[tracing]'"
        raise ConfigError(f"{text}, or leave tracing.url empty") from None
    spans = _now = Spans(settings.url, name, share=settings.share, queue=settings.queue)

    def end() -> None:
        global _now  # noqa: PLW0603
        _now = None
        spans.close()

    return end


def _do_nothing() -> None:
    return None


def sending(topic: str, headers: Headers, cause: Traced | None = None) -> Headers:
    """The headers of a record that is about to be sent, with the context of a span `send TOPIC`. `cause` is the event
    because of which it is sent; without one, a new trace begins, unless `headers` has a context already."""
    if _now is None:
        return headers
    return _now.sending(topic, headers, None if cause is None else cause.span, begins=cause is None)


def taken(events: Iterable[Traced]) -> None:
    """Begin the span `process TOPIC` of each event."""
    if _now is not None:
        for event in events:
            event.span = _now.process(event.record)


def step(name: str, events: Sequence[Traced]) -> AbstractContextManager[None]:
    """A part of the processing of some events, which takes as long as the with-block: a span for each of them."""
    if _now is None:
        return _NOTHING
    return _step(name, events)


@contextmanager
def _step(name: str, events: Sequence[Traced]) -> Iterator[None]:
    began = time.time_ns()
    try:
        yield
    finally:
        did(name, events, began)


def did(name: str, events: Iterable[Traced], began_ns: int) -> None:
    """A part of the processing of some events that began at `began_ns` (UTC nanoseconds) has just ended."""
    if _now is not None:
        spans = {id(event.span): event.span for event in events if event.span is not None}
        _now.parts(name, spans.values(), began_ns)


@contextmanager
def batch(events: Iterable[Traced], size: int) -> Iterator[int]:
    """One batch of the engine with `size` photos of these events: a span `batch` that links them, and a span `infer` of
    each. Gives the number of the batch in this process, which log lines name as well."""
    number = next(_batches)
    if _now is None:
        yield number
        return
    spans = {id(event.span): event.span for event in events if event.span is not None}
    with _now.batch(spans.values(), number, size):
        yield number


def ended(event: Traced, outcome: str) -> None:
    """End the span of an event. `dead` counts as an error."""
    if _now is not None and event.span is not None:
        _now.end(event.span, outcome)


def indexing(record: Record) -> AbstractContextManager[None]:
    """Wrap the application of one hash message to an index: a span `process TOPIC`."""
    if _now is None:
        return _NOTHING
    return _now.whole(record)


def exemplar_of(event: Traced) -> dict[str, str] | None:
    """The exemplar by which a histogram names the trace of this event; None if it is not followed."""
    if _now is None or event.span is None:
        return None
    return _now.exemplar(event.span)


def exemplar_from(record: Record) -> dict[str, str] | None:
    """The exemplar of the trace that a record belongs to; None if it is not followed."""
    return None if _now is None else _now.exemplar_from(record)
