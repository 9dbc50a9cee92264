"""One listing's trace, over embedded back ends and a real OTLP receiver."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from groknet.submitting.send import Sender, outgoing
from schemas.envelope import header
from schemas.errors import ConfigError
from schemas.topics import UPLOADED, hash_topic
from tests.workers.otlp_receiver import Receiver, Span, receiver
from tests.workers.tagger.rig import Rig, event, jpeg
from workers import tracing
from workers.http.serving import Health
from workers.indexer import IndexerSettings, build_indexer
from workers.streams.base import Partition, Record
from workers.trace_headers import context_headers
from workers.watching import metrics

pytestmark = pytest.mark.slow

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
"""The example of W3C Trace Context."""


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@contextmanager
def traced(url: str, share: float = 1.0) -> Iterator[None]:
    end = tracing.begin(tracing.TracingSettings(url=url, share=share), "tagger-2")
    try:
        yield
    finally:
        end()


@contextmanager
def indexed(rig: Rig) -> Iterator[None]:
    """An indexer of this rig that has read everything when the block ends."""
    health, stop = Health(), threading.Event()
    indexer = build_indexer(IndexerSettings(), stream=rig.stream, epoch=rig.epoch, home=rig.home, health=health)
    thread = threading.Thread(target=indexer.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def upload(rig: Rig, *listings: str) -> None:
    sender = Sender(rig.producer)
    for number, listing in enumerate(listings):
        sender.send(outgoing(event(listing, [jpeg(number), jpeg(100 + number)])))
    sender.flush()


def test_one_trace_leads_from_the_upload_to_the_index(tmp_path: Path, collector: Receiver) -> None:
    rig = Rig(tmp_path)
    with traced(collector.url):
        upload(rig, "shop/1", "shop/2")
        with rig.tagger() as failure, indexed(rig):
            rig.wait(failure)
            collector.until(2, f"process {hash_topic(rig.epoch)}")
    first = next(
        s for s in collector.spans if s.name == f"send {UPLOADED}" and s.about["groknet.listing_id"] == "shop/1"
    )
    mine = [span for span in collector.spans if span.trace == first.trace]
    to_index = f"send {hash_topic(rig.epoch)}"
    names = Counter(span.name for span in mine)
    assert names.keys() == {
        f"send {UPLOADED}", f"process {UPLOADED}", "decode", "infer", "store", "publish", to_index,
        f"process {hash_topic(rig.epoch)}",
    }  # fmt: skip
    by_name: dict[str, Span] = {span.name: span for span in mine}
    above = {span.id: span.name for span in mine}
    assert first.parent == ""
    assert above[by_name[f"process {UPLOADED}"].parent] == f"send {UPLOADED}"
    for part in ("decode", "infer", "store", "publish", to_index):
        assert above[by_name[part].parent] == f"process {UPLOADED}"
    assert above[by_name[f"process {hash_topic(rig.epoch)}"].parent] == to_index
    whole = by_name[f"process {UPLOADED}"]
    assert whole.about["groknet.outcome"] == "stored"
    assert not whole.error
    assert all(whole.began <= by_name[part].began <= by_name[part].ended <= whole.ended for part in ("decode", "store"))
    assert {span.service for span in mine} == {"tagger-2"}


def test_a_batch_links_the_events_whose_photos_it_has(tmp_path: Path, collector: Receiver) -> None:
    rig = Rig(tmp_path)
    with traced(collector.url):
        upload(rig, "shop/1", "shop/2")
        with rig.tagger() as failure:
            rig.wait(failure)
    whole = {(s.trace, s.id) for s in collector.spans if s.name == f"process {UPLOADED}"}
    batches = [span for span in collector.spans if span.name == "batch"]
    assert frozenset().union(*(batch.links for batch in batches)) == whole
    assert sum(batch.about["groknet.batch.photos"] for batch in batches) == 4
    assert {frozenset({(b.trace, b.id)}) for b in batches} == {s.links for s in collector.spans if s.name == "infer"}


def test_a_dead_letter_keeps_the_trace_and_the_event_counts_as_an_error(tmp_path: Path, collector: Receiver) -> None:
    rig = Rig(tmp_path)
    with traced(collector.url):
        rig.send(b"no event", headers=(("traceparent", f"00-{TRACE}-{SPAN}-01".encode()),))
        with rig.tagger() as failure:
            rig.wait(failure)
    (letter,) = rig.dead_letters()
    assert header(letter.headers, "traceparent") == f"00-{TRACE}-{SPAN}-01"
    (whole,) = [span for span in collector.spans if span.name == f"process {UPLOADED}"]
    assert (whole.trace, whole.parent, whole.error) == (TRACE, SPAN, True)


def test_what_its_producer_does_not_follow_nobody_follows(tmp_path: Path, collector: Receiver) -> None:
    rig = Rig(tmp_path)
    with traced(collector.url, share=0.0):
        upload(rig, "shop/1")
        with rig.tagger() as failure:
            rig.wait(failure)
    assert collector.spans == []
    (record,) = rig.admin.read(UPLOADED)
    flags = int(header(record.headers, "traceparent").rpartition("-")[2], 16)
    assert flags & 1 == 0  # not sampled


@pytest.mark.parametrize("value", [b"", b"00-0-0-01", b"\xff" * 55, b"00-" + b"a" * 10_000])
def test_a_strangers_header_that_is_no_context_begins_a_trace(collector: Receiver, value: bytes) -> None:
    record = Record(Partition(UPLOADED, 0), 7, 0, b"shop/1", b"", (("traceparent", value),))
    with traced(collector.url):
        assert tracing.exemplar_from(record) is None
        with tracing.indexing(record):
            pass
    (span,) = collector.spans
    assert span.parent == ""
    assert span.about["messaging.kafka.offset"] == 7
    assert context_headers(record.headers) == (record.headers if len(value) < 100 else ())


def test_the_freshness_histogram_names_a_trace(tmp_path: Path, collector: Receiver) -> None:
    rig = Rig(tmp_path)
    with traced(collector.url):
        rig.send(event("shop/1", [jpeg(1)]), headers=(("traceparent", f"00-{TRACE}-{SPAN}-01".encode()),))
        with rig.tagger() as failure, indexed(rig):
            rig.wait(failure)
            collector.until(1, f"process {hash_topic(rig.epoch)}", TRACE)
    exemplars = [
        sample.exemplar.labels["trace_id"]
        for family in metrics.EVENT_AGE.collect()
        for sample in family.samples
        if sample.exemplar
    ]
    assert TRACE in exemplars


def test_off_adds_nothing_to_a_record_and_keeps_what_is_there(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    upload(rig, "shop/1")
    rig.send(event("shop/2", [jpeg(2)]), headers=(("traceparent", b"x"),))
    with rig.tagger() as failure:
        rig.wait(failure)
    contexts = {record.key: header(record.headers, "traceparent") for record in rig.admin.read(UPLOADED)}
    assert contexts == {b"shop/1": None, b"shop/2": "x"}
    assert all(header(r.headers, "traceparent") is None for r in rig.admin.read(hash_topic(rig.epoch)))


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "workers.tracing_spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match=r"groknet\[tracing\]"):
        tracing.begin(tracing.TracingSettings(url="http://127.0.0.1:4318"), "tagger")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tracing\.url"):
        tracing.begin(tracing.TracingSettings(url="127.0.0.1:4318"), "tagger")


def test_a_collector_that_is_away_stops_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with traced("http://127.0.0.1:9"):  # the port of discard, on which nobody listens
        upload(rig, "shop/1")
        with rig.tagger() as failure:
            rig.wait(failure)
    assert set(rig.hashes()) == {"shop/1"}
