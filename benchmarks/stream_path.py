"""What the stream path costs without a network behind it: `python -m benchmarks.stream_path --json`.

A tagger runs from real Kafka to real Cassandra with an engine of fixed cost: it was asked once, and answers with that
for 0.1 ms a photo, which is what a GPU of 10,000 images/s would take. Each event carries one small photo inline.
In the same run kafka-python and cassandra-driver alone do the same to the same events: read them, write the same
cells, send the same hash messages, and nothing else.
"""

from __future__ import annotations

import cProfile
import io
import os
import platform
import pstats
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import bare_clients
from benchmarks.report import parser, write_result
from benchmarks.servers import Keyspace, make_topics, new_keyspace
from deploy.local import Services
from engines.pixels import decode_photo
from engines.recognition import HeadPredictions, Predictions, RecognitionEngine, build_engine
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.manifest import Manifest
from schemas.topics import UPLOADED, hash_topic
from training.studio import TEST_IDENTITIES, make_product, render
from workers.intake import Intake, IntakeSettings
from workers.serving import Health
from workers.stores import Store, build_store
from workers.streams import Stream, build_stream
from workers.streams.base import StreamAdmin, TopicSpec
from workers.tagger import GROUP, TaggerSettings, build_tagger
from workers.tagger.pooling import image_rows

PHOTO = (96, 72)  # small: fetching and decoding are measured elsewhere
BATCH = 32
ENGINE_S = 1e-4  # a photo
GPU_IMAGES_PER_S = 10_000
SETTINGS = TaggerSettings(
    batch_size=BATCH,
    prepare_threads=2,
    settle_threads=1,
    settle_events=128,
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

    def tag(self, settings: TaggerSettings, profile: bool = False) -> tuple[float, float, dict[str, Any]]:
        """Seconds of the clock and of the processor an event, and a profile where one is asked for.

        They count from the first commit beyond a fifth of the events: connecting and joining belong to no event.
        """
        admin, stop = self.stream.admin(), threading.Event()
        done, end = self._committed(admin), sum(admin.end_offsets(UPLOADED).values())
        total = end - done
        profiles: list[cProfile.Profile] = []
        if profile:
            threading.setprofile(_profiler(profiles))
        tagger = build_tagger(
            settings,
            stream=self.stream,
            store=self.store,
            engine=self.engine,
            intake=Intake(IntakeSettings()),
            home=self.home,
            health=Health(),
        )
        thread = threading.Thread(target=tagger.run, args=(stop,))
        thread.start()
        begun = done + total // 5
        since = None
        while True:
            done, now = self._committed(admin), (time.perf_counter(), time.process_time())
            if since is None and done >= begun:
                since = (done, now)
            if done >= end:
                break
            time.sleep(0.5)  # asking for offsets costs this process, too
        threading.setprofile(None)
        stop.set()
        thread.join()
        admin.close()
        assert since is not None
        events = max(1, done - since[0])
        return (now[0] - since[1][0]) / events, (now[1] - since[1][1]) / events, _summary(profiles, total)

    def _committed(self, admin: StreamAdmin) -> int:
        return sum(admin.committed(GROUP, UPLOADED).values())

    def bare(self, name: str, keys: list[bytes], photo: bytes) -> tuple[float, float]:
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
            )
        finally:
            session.cluster.shutdown()


def _profiler(profiles: list[cProfile.Profile]) -> Callable[[FrameType, str, Any], None]:
    def begin(_frame: FrameType, _event: str, _argument: Any) -> None:
        profile = cProfile.Profile(time.thread_time)
        profiles.append(profile)
        profile.enable()  # takes this hook's place in the thread

    return begin


def _summary(profiles: list[cProfile.Profile], events: int) -> dict[str, Any]:
    """Processor time by package, and by function with its calls an event, of all threads."""
    stats: pstats.Stats | None = None
    for profile in profiles:
        if profile.getstats():
            stats = pstats.Stats(profile) if stats is None else stats.add(profile)
    if stats is None:
        return {}
    packages: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for (file, line, name), (_, count, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        function = f"{'/'.join(Path(file).parts[-2:])}:{line} {name}"
        packages[_package(file, name)] += own
        functions[function] += own
        calls[function] += count
    whole = sum(packages.values())
    top = functions.most_common(20)
    return {
        "percent_by_package": {name: round(100 * own / whole, 1) for name, own in packages.most_common(12)},
        "percent_by_function": {name: round(100 * own / whole, 1) for name, own in top},
        "calls_an_event": {name: round(calls[name] / events, 1) for name, _ in top},
    }


def _package(file: str, name: str) -> str:
    if file == "~":
        return f"built in: {name}"[:60]
    parts = Path(file).parts
    for place in ("site-packages", "python3.11", "python3.12", "python3.13"):
        if place in parts:
            return parts[parts.index(place) + 1].removesuffix(".py")
    return "/".join(parts[-3:-1])


def _cpu_us(action: Callable[[], object], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - started) * 1e6 / times


def listing_keys(name: str, count: int) -> list[bytes]:
    """Keys of `count` listings."""
    return [f"{name}/{i}".encode() for i in range(count)]


def photo_bytes() -> bytes:
    """One small studio photo as JPEG."""
    buffer, photo = io.BytesIO(), render(make_product(TEST_IDENTITIES[0]), view=0, size=PHOTO)
    Image.fromarray(photo.pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def measure(bundle: Path, events: int, repeats: int, folder: Path, services: Services) -> dict[str, Any]:
    """All of it; medians of `repeats` rounds, the two taken in turn."""
    engine, photo = FixedCost(build_engine(bundle)), photo_bytes()
    keyspace, stream = new_keyspace(services, folder), build_stream(f"kafka://{services.bootstrap}", "bench")
    make_topics(stream, engine.manifest.epoch)
    bench = Bench(services, stream, build_store(keyspace.url), keyspace, engine, folder)
    bench.send(UPLOADED, listing_keys("warm", max(200, events // 5)), photo)
    bench.tag(SETTINGS)
    rounds: dict[str, list[tuple[float, float]]] = {"tagger": [], "clients": []}
    decode: list[float] = []
    for i in range(repeats):
        keys = listing_keys(f"round-{i}", events)
        bench.send(UPLOADED, keys, photo)
        rounds["tagger"].append(bench.tag(SETTINGS)[:2])
        rounds["clients"].append(bench.bare(f"bare-{i}", keys, photo))
        decode.append(_cpu_us(lambda: decode_photo(photo, engine.manifest.preprocess), 300))
    bench.send(UPLOADED, listing_keys("profiled", events // 2), photo)
    profile = bench.tag(SETTINGS, profile=True)[2]
    bench.store.close()
    return _report(rounds, decode, events, engine, photo) | profile


def _report(
    rounds: dict[str, list[tuple[float, float]]], decode: list[float], events: int, engine: FixedCost, photo: bytes
) -> dict[str, Any]:
    per_s = {name: round(statistics.median(1 / clock for clock, _ in r)) for name, r in rounds.items()}
    cpu = {name: round(statistics.median(cpu_s * 1e6 for _, cpu_s in r)) for name, r in rounds.items()}
    answer = engine.infer(np.empty((1, 1, 1, 3), np.uint8))
    rows = round(_cpu_us(lambda: image_rows(engine.manifest, ["1"], answer), 500))
    each = zip(rounds["tagger"], decode, rounds["clients"], strict=True)
    beyond = [round(tagger[1] * 1e6 - decoding - clients[1] * 1e6) for tagger, decoding, clients in each]
    return {
        "events_per_s": per_s,
        "cpu_us_per_event": cpu,
        "cpu_us_decode_and_thumbnail": round(statistics.median(decode)),
        "cpu_us_rows_from_predictions": rows,
        "cpu_us_beyond_clients_and_decode": round(statistics.median(beyond)),
        "cpu_us_beyond_by_round": beyond,
        "feeders_for_10000_images_per_s": -(-GPU_IMAGES_PER_S // per_s["tagger"]),
        "events": events,
        "event_bytes": len(photo) * 4 // 3,
        "machine": f"{os.cpu_count()} cores shared with both servers, {platform.machine()}, "
        f"Python {platform.python_version()}",
    }


def main() -> None:
    """Parse, start the servers, measure, print."""
    options = parser(__doc__, tells="result", bundle=True, repeats=3)
    options.add_argument("--events", type=int, default=4000, help="events a run (default 4000)")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder) / "services") as services:
        result = measure(arguments.bundle, arguments.events, arguments.repeats, Path(folder), services)
    write_result(result, arguments.json)


if __name__ == "__main__":
    main()
