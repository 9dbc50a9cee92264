"""How much of the bare engine's speed a whole worker keeps: `python -m benchmarks.stream.worker_ratio`.

One process measures both in turn on the same photos (800 x 600 JPEG, quality 85, studio renders): the engine alone on
decoded batches of the worker's size, then a tagger from an embedded stream to an embedded store. Each stage also runs
alone on the same photos, before the tagger and after it, and its processor time shows what costs the rest.

The ideal worker only decodes, resizes and computes: the processor time of these stages, run alone, is added up. Its
share in the processor time of the real worker is `of_ideal`, which other programs on the machine hardly change.
`of_ideal_with_thumbnail` counts the thumbnail as part of the ideal, too. The thread that measures is left out.
"""

from __future__ import annotations

import io
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.report import parser, write_result
from engines.pixels import JpegDecoder, decode, decode_photo
from engines.recognition import RecognitionEngine, build_engine
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.topics import UPLOADED, hash_topic, topics_for
from training.studio import TEST_IDENTITIES, make_product, render
from workers.http.serving import Health
from workers.intake import Intake, IntakeSettings
from workers.stages.pooling import image_rows
from workers.stores import build_store
from workers.streams import build_stream
from workers.streams.base import TopicSpec
from workers.tagger import TaggerSettings, build_tagger

FIRST_US = 1_700_000_000_000_000  # event time of the first listing, UTC microseconds
SIZE = (800, 600)
WAIT_S = 0.05
ENGINE_PHOTOS = 160  # that the engine computes for its cost, because 32 photos scatter by a twentieth
FLUSH_EVERY = 200  # events; a producer holds 64 MB at most
IDEAL = ("engine", "decode and resize")
"""The stages that no worker can do without."""


def photos(count: int) -> list[bytes]:
    """`count` different studio photos as JPEG bytes."""
    found = []
    for i in range(count):
        image = Image.fromarray(render(make_product(TEST_IDENTITIES[i]), view=0, size=SIZE).pixels)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        found.append(buffer.getvalue())
    return found


def bare(engine: RecognitionEngine, batch: np.ndarray[Any, np.dtype[np.uint8]], images: int) -> float:
    """Images a second of the engine alone, on batches uint8 [n, h, w, 3]."""
    started = time.perf_counter()
    for _ in range(images // len(batch)):
        engine.infer(batch)
    return images // len(batch) * len(batch) / (time.perf_counter() - started)


def worker(
    engine: RecognitionEngine,
    data: list[bytes],
    images: int,
    settings: TaggerSettings,
    ready: Callable[[], object] = lambda: None,
    *,
    finished: Callable[[], object] = lambda: None,
) -> float:
    """Images a second of a tagger, from the first poll to the last hash message. Each listing has one photo.

    `ready` is called when the log is filled and the tagger is built, before it starts. It may wait for other processes.
    `finished` is called after the last hash message, before the tagger ends.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        stream = build_stream(f"sqlite:///{home}/stream.db", "bench")
        store = build_store(f"sqlite:///{home}/store.db")
        admin, producer = stream.admin(), stream.producer()
        admin.ensure_topics(
            [TopicSpec(t.name, t.partitions, t.cleanup == "compact") for t in topics_for(engine.manifest.epoch)]
        )
        for i in range(images):
            event = ListingEvent(
                event_id=str(i),
                listing_id=f"bench/{i}",
                event_time=FIRST_US + i,
                type="created",
                images=[ImageRef(image_id="1", data=data[i % len(data)])],
            )
            producer.send(UPLOADED, event.listing_id.encode(), encode_event(event))
            if i % FLUSH_EVERY == 0:
                producer.flush(60)
        producer.flush(60)
        hashes, stop = hash_topic(engine.manifest.epoch), threading.Event()
        tagger = build_tagger(
            settings,
            stream=stream,
            store=store,
            engine=engine,
            intake=Intake(IntakeSettings()),
            home=home,
            health=Health(),
        )
        thread = threading.Thread(target=tagger.run, args=(stop,))
        ready()
        started = time.perf_counter()
        thread.start()
        while sum(admin.end_offsets(hashes).values()) < images:
            time.sleep(WAIT_S)
        seconds = time.perf_counter() - started
        finished()
        stop.set()
        thread.join()
        store.close()
        return images / seconds


def _others_s() -> float:
    """Processor seconds of all threads of this process but the calling one."""
    return time.process_time() - time.thread_time()


def _cpu_ms(action: Callable[[], object], images: int) -> float:
    started = time.process_time()
    action()
    return (time.process_time() - started) * 1000 / images


def stages(
    engine: RecognitionEngine, data: list[bytes], batch_size: int, jpeg: JpegDecoder | None = None
) -> dict[str, float]:
    """Processor milliseconds an image of each stage, run alone. `jpeg` decodes the JPEGs; by default Pillow does."""
    preprocess, n = engine.manifest.preprocess, len(data)
    batch = np.stack([decode_photo(one, preprocess).pixels for one in data[:batch_size]])
    output = engine.infer(batch)
    ids = [str(i) for i in range(len(batch))]

    rounds = max(1, ENGINE_PHOTOS // len(batch))

    def infer() -> None:
        for _ in range(rounds):
            engine.infer(batch)

    decoded = _cpu_ms(lambda: [decode(one, preprocess, jpeg=jpeg) for one in data], n)
    whole = _cpu_ms(lambda: [decode_photo(one, preprocess, jpeg=jpeg) for one in data], n)
    return {
        "engine": _cpu_ms(infer, rounds * len(batch)),
        "decode and resize": decoded,
        "thumbnail": max(0.0, whole - decoded),
        "rows from predictions": _cpu_ms(lambda: image_rows(engine.manifest, ids, output), len(batch)),
    }


def measure(bundle: Path, images: int, repeats: int, settings: TaggerSettings) -> dict[str, Any]:
    """The whole comparison. The figures are medians of `repeats` rounds; a round runs everything in turn."""
    engine = build_engine(bundle)
    size = min(settings.batch_size, engine.max_batch)
    data = photos(max(64, size))
    batch = np.stack([decode_photo(one, engine.manifest.preprocess).pixels for one in data[:size]])
    bare(engine, batch, 4 * size)  # warm
    alone, speeds, spent, costs = [], [], [], []
    moments: list[float] = []

    def note() -> None:
        moments.append(_others_s())

    for _ in range(repeats):
        alone.append(bare(engine, batch, images))
        before = stages(engine, data, size)
        speeds.append(worker(engine, data, images, settings, note, finished=note))
        spent.append((moments[-1] - moments[-2]) * 1000 / images)
        after = stages(engine, data, size)  # the machine's speed drifts by a tenth within a minute
        costs.append({name: (before[name] + after[name]) / 2 for name in before})
    ideal = [sum(cost[name] for name in IDEAL) for cost in costs]
    shown = [best + cost["thumbnail"] * settings.thumbnails for best, cost in zip(ideal, costs, strict=True)]
    stage_ms = {name: statistics.median(cost[name] for cost in costs) for name in costs[0]}
    if not settings.thumbnails:
        stage_ms["thumbnail"] = 0.0
    stage_ms["the rest: log, store, queues"] = max(0.0, statistics.median(spent) - sum(stage_ms.values()))
    beside = {name: ms for name, ms in stage_ms.items() if name not in IDEAL}
    return {
        "bare_images_per_s": round(statistics.median(alone), 1),
        "worker_images_per_s": round(statistics.median(speeds), 1),
        "ratio": round(statistics.median(w / b for w, b in zip(speeds, alone, strict=True)), 3),
        "of_ideal": round(statistics.median(best / ms for best, ms in zip(ideal, spent, strict=True)), 3),
        "of_ideal_with_thumbnail": round(
            statistics.median(best / ms for best, ms in zip(shown, spent, strict=True)), 3
        ),
        "worker_cpu_ms_per_image": round(statistics.median(spent), 2),
        "cpu_ms_per_image": {name: round(ms, 2) for name, ms in stage_ms.items()},
        "largest_cost_beside_the_ideal": max(beside, key=lambda name: beside[name]),
        "photo": "800x600 JPEG q85, studio",
        "batch_size": size,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, no GPU used, Python {platform.python_version()}",
    }


def main() -> None:
    """Read the options, measure and print."""
    options = parser(__doc__, tells="result", bundle=True, repeats=3)
    options.add_argument("--images", type=int, default=1200, help="photos a run (default 1200)")
    options.add_argument("--batch-size", type=int, default=TaggerSettings().batch_size)
    options.add_argument("--no-thumbnails", action="store_true", help="a tagger that makes none")
    arguments = options.parse_args()
    settings = TaggerSettings(batch_size=arguments.batch_size, thumbnails=not arguments.no_thumbnails)
    write_result(measure(arguments.bundle, arguments.images, arguments.repeats, settings), arguments.json)


if __name__ == "__main__":
    main()
