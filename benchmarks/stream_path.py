"""What the stream path costs without a network behind it: `python -m benchmarks.stream_path --json`.

A tagger runs from real Kafka to real Cassandra with an engine of fixed cost: it was asked once, and answers with that
for 0.1 ms a photo, which is what a GPU of 10,000 images/s would take. Each event carries one small photo inline.
In the same run kafka-python and cassandra-driver alone do the same to the same events: read them, write the same
cells, send the same hash messages, and nothing else; once more with the look-ups that the contract asks for; and once
more decoding the photos, too.
"""

from __future__ import annotations

import cProfile
import io
import os
import platform
import statistics
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import bare_clients
from benchmarks.clocks import clocked, decode_process_seconds, profiler, summary, thread_seconds
from benchmarks.report import parser, write_result
from benchmarks.servers import Keyspace, make_topics, new_keyspace
from deploy.local import Services
from engines.pixels import MOST_PHOTOS, DecodeProcesses, SlotPhoto, decode_photo
from engines.recognition import HeadPredictions, Predictions, RecognitionEngine, build_engine
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.manifest import Manifest, Preprocess
from schemas.topics import UPLOADED, hash_topic
from training.studio import TEST_IDENTITIES, make_product, render
from workers import metrics
from workers.collector import spare_collector
from workers.intake import Intake, IntakeSettings
from workers.serving import Health
from workers.stores import Store, build_store
from workers.streams import Stream, build_stream
from workers.streams.base import TopicSpec
from workers.tagger import GROUP, TaggerSettings, build_tagger, prepare
from workers.tagger.pooling import image_rows

PHOTO = (96, 72)  # small: fetching and decoding are measured elsewhere
BATCH = 32
ENGINE_S = 1e-4  # a photo
GPU_IMAGES_PER_S = 10_000
PLAIN, LOOKING, DECODING = "clients", "clients_with_look_ups", "clients_with_look_ups_and_decode"
_LOOK_S = 0.2
_APART = "decode processes"
SETTINGS = TaggerSettings(
    batch_size=BATCH,
    decode_processes=1,
    prepare_threads=1,
    settle_threads=1,
    settle_events=128,
    settle_wait_ms=250,
    max_in_flight_events=512,
    commit_interval_s=0.5,
)


class FixedCost:
    """An engine that answers every batch with what a real one said once, after a fixed time. No network runs."""

    def __init__(self, engine: RecognitionEngine) -> None:
        side = engine.manifest.preprocess
        self.manifest: Manifest = engine.manifest
        self.max_batch = BATCH
        noise = np.random.default_rng(0).integers(0, 256, (BATCH, side.height, side.width, 3), dtype=np.uint8)
        self._answer = engine.infer(noise)
        self._answers: dict[int, Predictions] = {}

    def warm_up(self) -> None:
        """Nothing is cold."""

    def infer(self, photos: npt.NDArray[np.uint8]) -> Predictions:
        """The same rows again; photos uint8 [n, h, w, 3] are not looked at."""
        time.sleep(ENGINE_S * len(photos))
        count = len(photos)
        if count not in self._answers:
            whole = self._answer
            heads = {
                head: HeadPredictions(one.labels[:count], one.probabilities[:count], one.offered[:count])
                for head, one in whole.heads.items()
            }
            self._answers[count] = Predictions(heads, whole.embedding[:count], whole.hash[:count])
        return self._answers[count]

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """What an event cost in one run of a tagger, in seconds; `threads` by their names, of the processor."""

    clock_s: float
    cpu_s: float
    decode_s: float
    threads: Mapping[str, float]
    profile: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Clocks:
    """All clocks at a moment, in seconds; of the processor but for the first, and the tagger's decode processes count
    as its threads do."""

    clock: float
    cpu: float
    decode: float
    threads: Mapping[str, float]

    @classmethod
    def read(cls, decode_s: float) -> _Clocks:
        """`decode_s`: what threads of this process have spent on decoding."""
        apart = decode_process_seconds()
        threads = {**thread_seconds(), _APART: apart}
        return cls(time.perf_counter(), time.process_time() + apart, decode_s + apart, threads)

    def since(self, before: _Clocks, events: int, profile: Mapping[str, Any]) -> Tagged:
        """What passed between the two, by event."""
        threads = {name: (spent - before.threads.get(name, 0.0)) / events for name, spent in self.threads.items()}
        clock, cpu, decode = self.clock - before.clock, self.cpu - before.cpu, self.decode - before.decode
        return Tagged(clock / events, cpu / events, decode / events, threads, profile)


@dataclass(frozen=True, slots=True)
class Bench:
    """Servers, and what is wired to them."""

    services: Services
    stream: Stream
    store: Store
    keyspace: Keyspace
    engine: FixedCost
    home: Path

    def send(self, topic: str, keys: list[bytes], photo: bytes) -> None:
        """An event of one photo for each of these listings."""
        producer, ref = self.stream.producer(), ImageRef(image_id="1", data=photo)
        for i, key in enumerate(keys):
            event = ListingEvent(
                event_id=f"e{i}", listing_id=key.decode(), event_time=1 + i, type="created", images=[ref]
            )
            producer.send(topic, key, encode_event(event))
            if i % 1000 == 0:
                producer.flush(60)
        producer.close()

    def tag(self, settings: TaggerSettings, profile: bool = False) -> Tagged:
        """One run of a tagger over what waits, with a profile where one is asked for.

        It counts from the moment when a fifth of the events is done, since connecting and joining belong to no event,
        to that when as many are left as are in flight, and some: at both ends as much is half done. The clocks are read
        twice and the tagger's own counter of events tells when, since asking the broker would cost this process, too.
        """
        admin, stop = self.stream.admin(), threading.Event()
        total = sum(admin.end_offsets(UPLOADED).values()) - sum(admin.committed(GROUP, UPLOADED).values())
        admin.close()
        before_all, done = _events_done(), 0
        profiles: list[cProfile.Profile] = []
        if profile:
            threading.setprofile(profiler(profiles))
        tagger = build_tagger(
            settings,
            stream=self.stream,
            store=self.store,
            engine=self.engine,
            intake=Intake(IntakeSettings()),
            home=self.home,
            health=Health(),
        )
        thread = threading.Thread(target=tagger.run, args=(stop,), name="driver")
        marks = [total // 5, total - settings.max_in_flight_events - 2 * settings.settle_events]
        seen: list[tuple[int, _Clocks]] = []
        with clocked(prepare, "decode_photo") as decoding:
            thread.start()
            while done < total:
                time.sleep(_LOOK_S)
                done = _events_done() - before_all
                if len(seen) < len(marks) and done >= marks[len(seen)]:
                    seen.append((done, _Clocks.read(decoding())))
            threading.setprofile(None)
            stop.set()
            thread.join()
        (first, before), (last, after) = seen
        return after.since(before, max(1, last - first), summary(profiles, total))

    def bare(self, name: str, keys: list[bytes], photo: bytes, kind: str) -> tuple[float, float]:
        """Seconds of the clock and of the processor an event of the clients alone, for copies of these events."""
        admin = self.stream.admin()
        admin.ensure_topics([TopicSpec(f"bench.{name}", 8), TopicSpec(f"bench.{name}.hashes", 8, compacted=True)])
        wanted = set(keys)
        messages = {record.key: record for record in admin.read(hash_topic(self.engine.manifest.epoch)) if record.key}
        messages = {key: record for key, record in messages.items() if key in wanted}
        admin.close()
        self.send(f"bench.{name}", keys, photo)
        session = bare_clients.connect(self.keyspace.node)
        rows = bare_clients.copy_rows(session, self.keyspace.name, {key.decode() for key in keys})
        copied = bare_clients.Copied(rows, messages)
        try:
            return bare_clients.run(
                copied,
                bootstrap=self.services.bootstrap,
                topic=f"bench.{name}",
                hash_topic=f"bench.{name}.hashes",
                session=session,
                keyspace=self.keyspace.name,
                look_up=kind != PLAIN,
                each=partial(decode_photo, photo, self.engine.manifest.preprocess) if kind == DECODING else None,
            )
        finally:
            session.cluster.shutdown()


def _events_done() -> int:
    """Stored by all taggers of this process so far."""
    (found,) = metrics.EVENTS.collect()
    return round(
        sum(s.value for s in found.samples if s.labels.get("outcome") == "stored" and s.name.endswith("total"))
    )


def _cpu_us(action: Callable[[], object], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - started) * 1e6 / times


def _decode_us(photo: bytes, preprocess: Preprocess, times: int = 320) -> float:
    """What decoding takes in this thread, with nothing beside it; as many photos are kept as are under way in slots."""
    kept: deque[object] = deque(maxlen=MOST_PHOTOS)
    return _cpu_us(lambda: kept.append(decode_photo(photo, preprocess)), times)


def _apart_us(photo: bytes, preprocess: Preprocess, messages: int = 20) -> float:
    """What a decode process takes for a photo, all that it does counted, with nothing beside it."""
    pool = DecodeProcesses(1, preprocess, thumbnail_side=TaggerSettings().thumbnail_side, slots=MOST_PHOTOS)

    def message() -> None:
        for some in pool.decode([photo] * MOST_PHOTOS):
            pool.give_back(one.slot for one in some if isinstance(one, SlotPhoto))

    message()
    before = decode_process_seconds()
    for _ in range(messages):
        message()
    spent = decode_process_seconds() - before
    pool.close()
    return spent * 1e6 / (messages * MOST_PHOTOS)


def listing_keys(name: str, count: int) -> list[bytes]:
    """Keys of `count` listings."""
    return [f"{name}/{i}".encode() for i in range(count)]


def photo_bytes() -> bytes:
    """One small studio photo as JPEG."""
    buffer, photo = io.BytesIO(), render(make_product(TEST_IDENTITIES[0]), view=0, size=PHOTO)
    Image.fromarray(photo.pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def measure(bundle: Path, events: int, repeats: int, folder: Path, services: Services) -> dict[str, Any]:
    """All of it; medians of `repeats` rounds, all taken in turn."""
    engine, photo = FixedCost(build_engine(bundle)), photo_bytes()
    keyspace, stream = new_keyspace(services, folder), build_stream(f"kafka://{services.bootstrap}", "bench")
    make_topics(stream, engine.manifest.epoch)
    bench = Bench(services, stream, build_store(keyspace.url), keyspace, engine, folder)
    bench.send(UPLOADED, listing_keys("warm", 2 * SETTINGS.max_in_flight_events), photo)
    bench.tag(SETTINGS)
    spare_collector()  # as the command of a tagger does; the bare clients have the gain of it, too
    rounds = []
    for i in range(repeats):
        keys = listing_keys(f"round-{i}", events)
        bench.send(UPLOADED, keys, photo)
        tagged = bench.tag(SETTINGS)
        bare = {kind: bench.bare(f"{kind}-{i}", keys, photo, kind) for kind in (PLAIN, LOOKING, DECODING)}
        alone = _decode_us(photo, engine.manifest.preprocess)
        rounds.append(Round(tagged, bare, alone, _apart_us(photo, engine.manifest.preprocess)))
    bench.send(UPLOADED, listing_keys("profiled", events), photo)
    profile = bench.tag(SETTINGS, profile=True).profile
    bench.store.close()
    return {**_report(rounds, events, engine, photo), **profile}


@dataclass(frozen=True, slots=True)
class Round:
    """The tagger; the bare clients by kind, (clock, processor) seconds an event; a photo decoded with nothing beside
    it, in this process and in a decode process, µs."""

    tagged: Tagged
    bare: Mapping[str, tuple[float, float]]
    decode_us: float
    apart_us: float

    def beyond_us(self, kind: str) -> int:
        """Processor time of an event beyond these clients. Where they do not decode, what the tagger's decode processes
        took does not count either, but for what they take beyond decoding."""
        beyond = (self.tagged.cpu_s - self.bare[kind][1]) * 1e6
        if kind != DECODING:
            beyond += max(0.0, self.apart_us - self.decode_us) - self.tagged.decode_s * 1e6
        return round(beyond)


def _report(rounds: Sequence[Round], events: int, engine: FixedCost, photo: bytes) -> dict[str, Any]:
    kinds = (PLAIN, LOOKING, DECODING)
    tagger_per_s = _median(1 / r.tagged.clock_s for r in rounds)
    threads = sorted({name for r in rounds for name, spent in r.tagged.threads.items() if spent >= 1e-6})
    answer = engine.infer(np.empty((1, 1, 1, 3), np.uint8))
    beyond = {kind: [r.beyond_us(kind) for r in rounds] for kind in kinds}
    return {
        "events_per_s": {
            "tagger": tagger_per_s,
            **{kind: _median(1 / r.bare[kind][0] for r in rounds) for kind in kinds},
        },
        "cpu_us_per_event": {
            "tagger": _median(r.tagged.cpu_s * 1e6 for r in rounds),
            **{kind: _median(r.bare[kind][1] * 1e6 for r in rounds) for kind in kinds},
        },
        "cpu_us_beyond": {kind: _median(found) for kind, found in beyond.items()},
        "cpu_us_beyond_by_round": beyond,
        "cpu_us_by_thread": {name: _median(r.tagged.threads.get(name, 0.0) * 1e6 for r in rounds) for name in threads},
        "cpu_us_decode": {
            "in_the_tagger": _median(r.tagged.decode_s * 1e6 for r in rounds),
            "alone": _median(r.decode_us for r in rounds),
            "alone_in_a_decode_process": _median(r.apart_us for r in rounds),
        },
        "cpu_us_rows_from_predictions_alone": round(_cpu_us(lambda: image_rows(engine.manifest, ["1"], answer), 500)),
        "feeders_for_10000_images_per_s": -(-GPU_IMAGES_PER_S // tagger_per_s),
        "events": events,
        "event_bytes": len(photo) * 4 // 3,
        "load_1m": round(os.getloadavg()[0], 1),
        "machine": f"{os.cpu_count()} cores shared with both servers, {platform.machine()}, "
        f"Python {platform.python_version()}",
    }


def _median(values: Iterable[float]) -> int:
    return round(statistics.median(values))


def main() -> None:
    """Parse, start the servers, measure, print."""
    options = parser(__doc__, tells="result", bundle=True, repeats=3)
    options.add_argument("--events", type=int, default=4000, help="events a run (default 4000)")
    arguments = options.parse_args()
    if arguments.events < 4 * SETTINGS.max_in_flight_events:
        options.error(f"--events: at least {4 * SETTINGS.max_in_flight_events}, so that most are counted")
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder) / "services") as services:
        result = measure(arguments.bundle, arguments.events, arguments.repeats, Path(folder), services)
    write_result(result, arguments.json)


if __name__ == "__main__":
    main()
