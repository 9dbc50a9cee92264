"""The spans of `workers.tracing`, by OpenTelemetry's SDK. Only that module imports this one, and only while
tracing is on.

Names and attributes follow OpenTelemetry's conventions for messaging. No attribute holds an address of a photo.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.envelope import Headers
from workers.streams.base import Record
from workers.trace_headers import context_of, without_context

_END_S = 3.0  # to send what is left when a worker ends; shorter than the margin after its drain
_EVERY_MS = 1000  # between two requests to the collector
_MOST_AT_ONCE = 512  # spans of one request to the collector


class Spans:
    """The tracer of one process. Thread-safe."""

    def __init__(self, url: str, name: str, *, share: float, queue: int) -> None:
        """`name`: of this worker, such as `tagger-2`. The others: see `tracing.TracingSettings`."""
        ours = {"service.name": f"groknet-{name.rstrip('-0123456789')}", "service.instance.id": name}
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)),
            resource=Resource.create({**ours, "service.version": version("groknet")}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=url.rstrip("/") + "/v1/traces", timeout=_END_S)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=queue,
                max_export_batch_size=_MOST_AT_ONCE,
                schedule_delay_millis=_EVERY_MS,
            )
        )
        self._tracer = self._provider.get_tracer("groknet")
        self._w3c = TraceContextTextMapPropagator()

    def sending(self, topic: str, headers: Headers, cause: Span | None, *, begins: bool) -> Headers:
        """See `tracing.sending`. `begins`: a record without a cause begins a trace."""
        above = self._context(headers)
        if cause is not None:
            above = trace.set_span_in_context(cause, Context())
        elif not begins:
            return headers  # its cause is not followed, and neither is it
        span = self._tracer.start_span(f"send {topic}", above, SpanKind.PRODUCER, _about(topic, _key_in(headers)))
        carrier: dict[str, str] = {}
        self._w3c.inject(carrier, trace.set_span_in_context(span, Context()))
        span.end()
        return (*without_context(headers), *((name, text.encode()) for name, text in carrier.items()))

    def process(self, record: Record) -> Span | None:
        """Begin the span of a record; None if it is not followed."""
        name = f"process {record.partition.topic}"
        span = self._tracer.start_span(name, self._context(record.headers), SpanKind.CONSUMER, _of(record))
        return span if span.is_recording() else None

    def parts(self, name: str, above: Collection[Span], began_ns: int) -> None:
        """A span below each of these, from `began_ns` (UTC) until now."""
        now = time.time_ns()
        for span in above:
            part = self._tracer.start_span(name, trace.set_span_in_context(span, Context()), start_time=began_ns)
            part.end(now)

    @contextmanager
    def batch(self, events: Collection[Span], number: int, size: int) -> Iterator[None]:
        """See `tracing.batch`."""
        if not events:
            yield
            return
        began = time.time_ns()
        links = [Link(span.get_span_context()) for span in events]
        about = {"groknet.batch": number, "groknet.batch.photos": size, "messaging.batch.message_count": len(events)}
        whole = self._tracer.start_span("batch", Context(), SpanKind.INTERNAL, about, links)
        try:
            yield
        except Exception as error:
            whole.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            now = time.time_ns()
            whole.end(now)
            to_batch = [Link(whole.get_span_context())]
            for span in events:
                above = trace.set_span_in_context(span, Context())
                part = self._tracer.start_span("infer", above, attributes=about, links=to_batch, start_time=began)
                part.end(now)

    def end(self, span: Span, outcome: str) -> None:
        """End the span of an event."""
        span.set_attribute("groknet.outcome", outcome)
        if outcome == "dead":
            span.set_status(Status(StatusCode.ERROR, outcome))
        span.end()

    @contextmanager
    def whole(self, record: Record) -> Iterator[None]:
        """Wrap the whole processing of a record."""
        span = self.process(record)
        try:
            yield
        finally:
            if span is not None:
                span.end()

    def exemplar(self, span: Span) -> dict[str, str]:
        """The trace and the span, in hex."""
        found = span.get_span_context()
        return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}

    def exemplar_from(self, record: Record) -> dict[str, str] | None:
        """The trace of a record and the span that sent it, in hex; None if they are not followed."""
        span = trace.get_current_span(self._context(record.headers))
        return self.exemplar(span) if span.get_span_context().trace_flags.sampled else None

    def flush(self) -> None:
        """Send what is left, for a few seconds."""
        self._provider.force_flush(int(_END_S * 1000))

    def close(self) -> None:
        """Send what is left, and end."""
        self.flush()
        self._provider.shutdown()

    def _context(self, headers: Headers) -> Context:
        return self._w3c.extract(context_of(headers), Context())


def _about(topic: str, key: str | None) -> dict[str, Any]:
    found = {"messaging.system": "kafka", "messaging.destination.name": topic}
    return found if key is None else {**found, "groknet.listing_id": key}


def _of(record: Record) -> dict[str, Any]:
    key = None if record.key is None else record.key[:256].decode("utf-8", "replace")
    place = {
        "messaging.destination.partition.id": str(record.partition.number),
        "messaging.kafka.offset": record.offset,
    }
    return {**_about(record.partition.topic, key), **place}


def _key_in(headers: Headers) -> str | None:
    return next((value.decode("utf-8", "replace") for name, value in headers if name == "ce_partitionkey"), None)
