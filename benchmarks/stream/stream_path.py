"""What the stream path costs without a network behind it: `python -m benchmarks.stream.stream_path --json`.

A tagger runs from real Kafka to real Cassandra with an engine of fixed cost: it repeats one answer, at 0.1 ms a photo,
as a GPU of 10,000 images/s would take. Each event has one small inline photo. In the same run, kafka-python and
cassandra-driver alone read the same events, write the same cells and send the same hash messages. Then they repeat it
with the look-ups that the contract requires, and once more with decoding. They run in one process, which leaves the
machine half idle, and in two, which fill it as the tagger and its servers do: an instruction costs more on a full
machine.
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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.clocks import decode_process_seconds, profiler, summary, thread_seconds
from benchmarks.report import parser, write_result
from benchmarks.servers import Keyspace, make_topics, new_keyspace
from benchmarks.stream import bare_clients
from deploy.local import Services
from engines.pixels import MOST_PHOTOS, DecodeProcesses, SlotPhoto, decode_photo
from engines.recognition import HeadPredictions, Predictions, RecognitionEngine, build_engine
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.manifest import Manifest, Preprocess
from schemas.topics import UPLOADED, hash_topic
from training.studio import TEST_IDENTITIES, make_product, render
from workers.collector import spare_collector
from workers.http.serving import Health
from workers.intake import Intake, IntakeSettings
from workers.stages.pooling import image_rows
from workers.stores import Store, build_store
from workers.streams import Stream, build_stream
from workers.streams.base import TopicSpec
from workers.tagger import GROUP, TaggerSettings, build_tagger
from workers.watching import metrics

FIRST_US = 1_700_000_000_000_000  # event time of the first listing, UTC microseconds
PHOTO = (96, 72)  # small: fetching and decoding are measured elsewhere
BATCH = 32
ENGINE_S = 1e-4  # a photo
GPU_IMAGES_PER_S = 10_000
PLAIN, LOOKING, DECODING = "clients", "clients_with_look_ups", "clients_with_look_ups_and_decode"
PROCESSES = (1, 2)
KINDS = [(kind, processes) for processes in PROCESSES for kind in (PLAIN, LOOKING, DECODING)]
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
    """An engine that answers every batch, after a fixed time, with one recorded answer of a real engine. No network
    runs."""

    def __init__(self, engine: RecognitionEngine) -> None:
        side = engine.manifest.preprocess
        self.manifest: Manifest = engine.manifest
        self.backend = "fixed_cost"
        self.max_batch = BATCH
        noise = np.random.default_rng(0).integers(0, 256, (BATCH, side.height, side.width, 3), dtype=np.uint8)
        self._answer = engine.infer(noise)
        self._answers: dict[int, Predictions] = {}

    def warm_up(self) -> None:
        """Do nothing, because there is no network to warm up."""

    def infer(self, photos: npt.NDArray[np.uint8]) -> Predictions:
        """Return the recorded rows for photos uint8 [n, h, w, 3], without reading the photos."""
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
        """Do nothing, because there are no resources."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of an event in seconds, by the clock and of the processor. For a tagger it includes decoding, and
    `threads` has the processor time by name."""

    clock_s: float
    cpu_s: float
    decode_s: float = 0.0
    threads: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Clocks:
    """All clocks at one moment, in seconds. All except the first count processor time. The tagger's decode processes
    count like its threads."""

    clock: float
    cpu: float
    decode: float
    threads: Mapping[str, float]

    @classmethod
    def read(cls) -> _Clocks:
        """Now."""
        apart = decode_process_seconds()
        threads = {**thread_seconds(), _APART: apart}
        return cls(time.perf_counter(), time.process_time() + apart, apart, threads)

    def since(self, before: _Clocks, events: int) -> Cost:
        """The cost of each of `events` events between the two moments."""
        threads = {name: (spent - before.threads.get(name, 0.0)) / events for name, spent in self.threads.items()}
        clock, cpu, decode = self.clock - before.clock, self.cpu - before.cpu, self.decode - before.decode
        return Cost(clock / events, cpu / events, decode / events, threads)


@dataclass(frozen=True, slots=True)
class Bench:
    """The servers, and the clients that use them."""

    services: Services
    stream: Stream
    store: Store
    keyspace: Keyspace
    engine: FixedCost
    home: Path

    def send(self, topic: str, keys: list[bytes], photo: bytes) -> None:
        """Send an event with one photo for each of these listings."""
        producer, ref = self.stream.producer(), ImageRef(image_id="1", data=photo)
        for i, key in enumerate(keys):
            event = ListingEvent(
                event_id=f"e{i}", listing_id=key.decode(), event_time=FIRST_US + i, type="created", images=[ref]
            )
            producer.send(topic, key, encode_event(event))
            if i % 1000 == 0:
                producer.flush(60)
        producer.close()

    def tag(self, settings: TaggerSettings, profiles: list[cProfile.Profile] | None = None) -> Cost:
        """Run a tagger over the waiting events, with a profile of each thread if `profiles` is given.

        Counting begins when a fifth of the events is done, because connecting and joining belong to no event. It ends
        when a few more are left than are in flight, so that both moments have the same amount of unfinished work. The
        tagger's own counter of events gives the moments, because a question to the broker would cost this process time.
        """
        admin, stop = self.stream.admin(), threading.Event()
        total = sum(admin.end_offsets(UPLOADED).values()) - sum(admin.committed(GROUP, UPLOADED).values())
        admin.close()
        before_all, done = _events_done(), 0
        if profiles is not None:
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
        thread.start()
        while done < total:
            time.sleep(_LOOK_S)
            done = _events_done() - before_all
            if len(seen) < len(marks) and done >= marks[len(seen)]:
                seen.append((done, _Clocks.read()))
        threading.setprofile(None)
        stop.set()
        thread.join()
        (first, before), (last, after) = seen
        return after.since(before, max(1, last - first))

    def bare(self, name: str, keys: list[bytes], photo: bytes, kind: str, processes: int) -> Cost:
        """The cost of an event for the clients alone, with copies of these events."""
        topic, admin = f"bench.{name}", self.stream.admin()
        admin.ensure_topics([TopicSpec(topic, 8), TopicSpec(f"{topic}.hashes", 8, compacted=True)])
        wanted = set(keys)
        messages = {record.key: record for record in admin.read(hash_topic(self.engine.manifest.epoch)) if record.key}
        messages = {key: record for key, record in messages.items() if key in wanted}
        self.send(topic, keys, photo)
        counts = {partition.number: end for partition, end in admin.end_offsets(topic).items()}
        admin.close()
        session = bare_clients.connect(self.keyspace.node)
        rows = bare_clients.copy_rows(session, self.keyspace.name, {key.decode() for key in keys})
        session.cluster.shutdown()
        clients = bare_clients.Clients(
            bare_clients.Copied(rows, messages),
            bootstrap=self.services.bootstrap,
            topic=topic,
            hash_topic=f"{topic}.hashes",
            node=self.keyspace.node,
            keyspace=self.keyspace.name,
            look_up=kind != PLAIN,
            each=partial(decode_photo, photo, self.engine.manifest.preprocess) if kind == DECODING else None,
        )
        spent = clients.run(counts, processes)
        return Cost((spent.until - spent.since) / len(keys), spent.cpu_s / len(keys))


def _events_done() -> int:
    """The number of events that all taggers of this process have stored so far."""
    (found,) = metrics.EVENTS.collect()
    return round(
        sum(s.value for s in found.samples if s.labels.get("outcome") == "stored" and s.name.endswith("total"))
    )


def _cpu_us(action: Callable[[], object], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - started) * 1e6 / times


def _decode_us(photo: bytes, preprocess: Preprocess, turns: int = 12) -> tuple[float, float]:
    """Microseconds to decode a photo in this thread, and in a decode process with all its work. They are measured in
    turn, with nothing else running. As many photos are kept as there are in slots."""
    kept: deque[object] = deque(maxlen=MOST_PHOTOS)
    pool = DecodeProcesses(1, preprocess, thumbnail_side=TaggerSettings().thumbnail_side, slots=MOST_PHOTOS)

    def apart_us() -> float:
        before = decode_process_seconds()
        for some in pool.decode([photo] * MOST_PHOTOS):
            pool.give_back(one.slot for one in some if isinstance(one, SlotPhoto))
        return (decode_process_seconds() - before) * 1e6 / MOST_PHOTOS

    apart_us()
    pairs = [
        (_cpu_us(lambda: kept.append(decode_photo(photo, preprocess)), MOST_PHOTOS), apart_us()) for _ in range(turns)
    ]
    pool.close()
    alone, apart = zip(*pairs, strict=True)
    return statistics.median(alone), statistics.median(apart)


def _named(kind: str, processes: int) -> str:
    return kind if processes == 1 else f"{kind}_in_{processes}"


def listing_keys(name: str, count: int) -> list[bytes]:
    """The keys of `count` listings."""
    return [f"{name}/{i}".encode() for i in range(count)]


def photo_bytes() -> bytes:
    """One small studio photo as JPEG."""
    buffer, photo = io.BytesIO(), render(make_product(TEST_IDENTITIES[0]), view=0, size=PHOTO)
    Image.fromarray(photo.pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def measure(bundle: Path, events: int, repeats: int, folder: Path, services: Services) -> dict[str, Any]:
    """Measure everything. The figures are medians of `repeats` rounds, taken in turn."""
    engine, photo = FixedCost(build_engine(bundle)), photo_bytes()
    keyspace, stream = new_keyspace(services, folder), build_stream(f"kafka://{services.bootstrap}", "bench")
    make_topics(stream, engine.manifest.epoch)
    profiles: list[cProfile.Profile] = []
    rounds = []
    bench = Bench(services, stream, build_store(keyspace.url), keyspace, engine, folder)
    bench.send(UPLOADED, listing_keys("warm", 2 * SETTINGS.max_in_flight_events), photo)
    bench.tag(SETTINGS)
    spare_collector()  # as the command of a tagger does
    for i in range(repeats):
        keys = listing_keys(f"round-{i}", events)
        bench.send(UPLOADED, keys, photo)
        tagged = bench.tag(SETTINGS)
        bare = {
            _named(kind, processes): bench.bare(f"{_named(kind, processes)}-{i}", keys, photo, kind, processes)
            for kind, processes in KINDS
        }
        rounds.append(Round(tagged, bare, *_decode_us(photo, engine.manifest.preprocess)))
    bench.send(UPLOADED, listing_keys("profiled", events), photo)
    bench.tag(SETTINGS, profiles)
    bench.store.close()
    return {**_report(rounds, events, engine, photo), **summary(profiles, events)}


@dataclass(frozen=True, slots=True)
class Round:
    """One round: the cost of the tagger, the costs of the bare clients by kind, and the µs to decode a photo with
    nothing else running, in this process and in a decode process."""

    tagged: Cost
    bare: Mapping[str, Cost]
    decode_us: float
    apart_us: float

    def beyond_us(self, kind: str, apart_us: float) -> int:
        """The processor time of an event beyond these clients, in µs. If the clients do not decode, the tagger's decode
        processes do not count either, except for `apart_us`, which they take beyond decoding."""
        beyond = (self.tagged.cpu_s - self.bare[kind].cpu_s) * 1e6
        if not kind.startswith(DECODING):
            beyond += apart_us - self.tagged.decode_s * 1e6
        return round(beyond)


def _report(rounds: Sequence[Round], events: int, engine: FixedCost, photo: bytes) -> dict[str, Any]:
    tagger_per_s = _median(1 / r.tagged.clock_s for r in rounds)
    answer = engine.infer(np.empty((1, 1, 1, 3), np.uint8))
    return {
        "events_per_s": {
            "tagger": tagger_per_s,
            **{kind: _median(1 / r.bare[kind].clock_s for r in rounds) for kind in rounds[0].bare},
        },
        **_figures(rounds),
        "cpu_us_decode": {
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


def _figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """The processor time of an event, as medians and by round."""
    kinds = list(rounds[0].bare)
    threads = sorted({name for r in rounds for name, spent in r.tagged.threads.items() if spent >= 1e-6})
    apart_us = max(0.0, statistics.median(r.apart_us - r.decode_us for r in rounds))
    beyond = {kind: [r.beyond_us(kind, apart_us) for r in rounds] for kind in kinds}
    return {
        "cpu_us": {
            "tagger": _median(r.tagged.cpu_s * 1e6 for r in rounds),
            **{kind: _median(r.bare[kind].cpu_s * 1e6 for r in rounds) for kind in kinds},
        },
        "cpu_us_beyond": {kind: _median(found) for kind, found in beyond.items()},
        "cpu_us_beyond_by_round": beyond,
        "cpu_us_by_thread": {name: _median(r.tagged.threads.get(name, 0.0) * 1e6 for r in rounds) for name in threads},
    }


def _median(values: Iterable[float]) -> int:
    return round(statistics.median(values))


def main() -> None:
    """Read the options, start the servers, measure and print."""
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
