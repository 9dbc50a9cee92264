"""A whole home under load, with JSON logs and traces: one trace through its processes, and few lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.manifest import load_manifest
from schemas.topics import UPLOADED, hash_topic
from tests.groknet.conftest import Call, Cluster, start_all, write_photo
from tests.workers.otlp_receiver import Receiver, receiver

pytestmark = [pytest.mark.slow, pytest.mark.alone]

GOOD, BAD = 40, 12
NOBODY = "http://127.0.0.1:9/gone.jpg?signature=NOT-FOR-LOGS"  # the port of discard, on which nobody listens


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, bundle: Path, collector: Receiver) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("traced")
    (home / "groknet.toml").write_text(
        f'[log]\nformat = "json"\n[tracing]\nurl = "{collector.url}"\n[targets]\nport = 0\n'
        '[intake]\nallowed_private = ["127.0.0.1:9"]\n'
    )
    running = start_all(home, bundle)
    try:
        running.wait_for("all workers are ready")
        yield running
    finally:
        running.stop()


def lines(cluster: Cluster) -> dict[str, list[str]]:
    return {file.stem: file.read_text().splitlines() for file in (cluster.home / "logs").glob("*.log")}


def test_one_trace_goes_from_submit_through_tagger_and_indexer(
    traced: Cluster, collector: Receiver, bundle: Path, groknet: Call, tmp_path: Path
) -> None:
    photo = write_photo(tmp_path / "red-mug.jpg", 1)
    assert groknet("submit", "--home", traced.home, "--wait", photo).code == 0
    (sent,) = collector.until(1, f"send {UPLOADED}")
    epoch = load_manifest(bundle).epoch
    (last,) = collector.until(1, f"process {hash_topic(epoch)}", sent.trace)
    for above in (f"send {hash_topic(epoch)}", f"process {UPLOADED}"):  # each process sends its spans in its own time
        collector.until(1, above, sent.trace)
    found = {span.id: span for span in collector.spans if span.trace == sent.trace}
    path, parent = [last], last.parent
    while parent:
        path.append(found[parent])
        parent = found[parent].parent
    assert [(span.service, span.name) for span in reversed(path)] == [
        ("submit", f"send {UPLOADED}"),
        ("tagger", f"process {UPLOADED}"),
        ("tagger", f"send {hash_topic(epoch)}"),
        ("indexer", f"process {hash_topic(epoch)}"),
    ]


def test_a_load_writes_no_line_an_event_and_no_query_string(traced: Cluster, groknet: Call, tmp_path: Path) -> None:
    before = {name: len(text) for name, text in lines(traced).items()}
    for number in range(GOOD):
        write_photo(tmp_path / "good" / f"good-{number}.jpg", number)
    events = []
    for number in range(BAD):
        refs = [ImageRef(image_id="0", url=NOBODY), ImageRef(image_id="1", data=b"no photo")]
        refs = refs if number % 2 else refs[1:]
        name = f"shop/bad-{number}"
        events.append(ListingEvent(event_id=name, listing_id=name, event_time=1, type="created", images=refs))
    (tmp_path / "bad.jsonl").write_bytes(b"\n".join(map(encode_event, events)) + b"\n")
    assert groknet("submit", "--home", traced.home, tmp_path / "bad.jsonl").code == 0
    assert groknet("submit", "--home", traced.home, "--wait", tmp_path / "good").code == 0
    traced.stop()
    after = lines(traced)
    assert after.keys() >= {"tagger", "indexer", "search"}
    for name, text in after.items():
        new = text[before.get(name, 0) :]
        assert len(new) <= 8, new  # the last summary, and what each part says when it stops
    everything = [line for text in after.values() for line in text] + traced.said
    assert not [line for line in everything if "NOT-FOR-LOGS" in line]
    for line in after["tagger"]:
        told = json.loads(line)
        assert told.keys() >= {"time", "level", "logger", "message"}
    summary = [json.loads(line)["message"] for line in after["tagger"] if "last minute" in line]
    assert any("stored" in text for text in summary)
