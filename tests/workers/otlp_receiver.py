"""A collector for OTLP over HTTP, in this process. It keeps the spans that real exporters send."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Span:
    """One span as it was sent. Ids are hex; `parent` is empty for a root."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    links: frozenset[tuple[str, str]]
    """(trace, span) of each link."""
    began: int
    ended: int
    about: dict[str, Any] = field(hash=False)
    error: bool


class Receiver:
    """`url` is what `tracing.url` is set to."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.thread = threading.Thread(target=self._server.serve_forever)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                receiver.spans += _spans(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return None

        return Handler

    def until(self, count: int, name: str, trace: str | None = None) -> list[Span]:
        """Wait until so many spans of a name (of a trace) have come, and return them."""
        deadline = time.monotonic() + PATIENCE_S
        while len(found := [s for s in self.spans if s.name == name and trace in (None, s.trace)]) < count:
            assert time.monotonic() < deadline, (
                f"{len(found)} spans {name!r} of {count}: {[s.name for s in self.spans]}"
            )
            time.sleep(0.02)
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.thread.join()


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    found = []
    for resource in request.resource_spans:
        whose = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                about = {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
                links = frozenset((link.trace_id.hex(), link.span_id.hex()) for link in span.links)
                ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                times = span.start_time_unix_nano, span.end_time_unix_nano
                error = span.status.code == 2
                found.append(Span(whose["service.instance.id"], span.name, *ids, links, *times, about, error))
    return found


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A running receiver."""
    made = Receiver()
    made.thread.start()
    try:
        yield made
    finally:
        made.close()
