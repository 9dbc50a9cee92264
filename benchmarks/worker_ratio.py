"""How much of the bare engine's speed a whole worker keeps: `python -m benchmarks.worker_ratio`.

One process measures both in turn on the same photos (800 x 600 JPEG, quality 85, studio renders): the engine alone on
decoded batches of the worker's size, then a tagger from an embedded stream to an embedded store. Each stage also runs
alone on the same photos, and its processor time shows what costs the rest.
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
from engines.pixels import JpegDecoder, decode_photo
from engines.recognition import RecognitionEngine, build_engine
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.topics import UPLOADED, topics_for
from training.studio import TEST_IDENTITIES, make_product, render
from workers.intake import Intake, IntakeSettings
from workers.serving import Health
from workers.stages.pooling import image_rows
from workers.stores import build_store
from workers.streams import build_stream
from workers.streams.base import TopicSpec
from workers.tagger import GROUP, TaggerSettings, build_tagger

FIRST_US = 1_700_000_000_000_000  # event time of the first listing, UTC microseconds
SIZE = (800, 600)
WAIT_S = 0.05
FLUSH_EVERY = 200  # events; a producer holds 64 MB at most
COMMIT_S = 0.1  # a run ends with its commit, which must not wait for a second


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
) -> float:
    """Images a second of a tagger, from the first poll to the last commit. Each listing has one photo.

    `ready` is called when the log is filled and the tagger is built, before it starts. It may wait for other processes.
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
        ends, stop = admin.end_offsets(UPLOADED), threading.Event()
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
        while sum(admin.committed(GROUP, UPLOADED).values()) < sum(ends.values()):
            time.sleep(WAIT_S)
        seconds = time.perf_counter() - started
        stop.set()
        thread.join()
        store.close()
        return images / seconds


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

    def infer() -> None:
        for _ in range(4):
            engine.infer(batch)

    return {
        "engine": _cpu_ms(infer, 4 * len(batch)),
        "decode, resize and thumbnail": _cpu_ms(lambda: [decode_photo(one, preprocess, jpeg=jpeg) for one in data], n),
        "rows from predictions": _cpu_ms(lambda: image_rows(engine.manifest, ids, output), len(batch)),
    }


def measure(bundle: Path, images: int, repeats: int, settings: TaggerSettings) -> dict[str, Any]:
    """The whole comparison. The figures are medians of `repeats` pairs, taken in turn."""
    engine = build_engine(bundle)
    size = min(settings.batch_size, engine.max_batch)
    data = photos(max(64, size))
    batch = np.stack([decode_photo(one, engine.manifest.preprocess).pixels for one in data[:size]])
    bare(engine, batch, 4 * size)  # warm
    pairs = [(bare(engine, batch, images), worker(engine, data, images, settings)) for _ in range(repeats)]
    costs = stages(engine, data, size)
    total = statistics.median(1000 * (os.cpu_count() or 1) / w for _, w in pairs)
    costs["the rest: log, store, queues"] = max(0.0, total - sum(costs.values()))
    beside = {name: ms for name, ms in costs.items() if name != "engine"}
    return {
        "bare_images_per_s": round(statistics.median(b for b, _ in pairs), 1),
        "worker_images_per_s": round(statistics.median(w for _, w in pairs), 1),
        "ratio": round(statistics.median(w / b for b, w in pairs), 3),
        "cpu_ms_per_image": {name: round(ms, 2) for name, ms in costs.items()},
        "largest_cost_beside_engine": max(beside, key=lambda name: beside[name]),
        "photo": "800x600 JPEG q85, studio",
        "batch_size": size,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, no GPU used, Python {platform.python_version()}",
    }


def main() -> None:
    """Read the options, measure and print."""
    options = parser(__doc__, tells="result", bundle=True, repeats=3)
    options.add_argument("--images", type=int, default=1200, help="photos a run (default 1200)")
    options.add_argument("--batch-size", type=int, default=TaggerSettings().batch_size)
    arguments = options.parse_args()
    settings = TaggerSettings(batch_size=arguments.batch_size, commit_interval_s=COMMIT_S)
    write_result(measure(arguments.bundle, arguments.images, arguments.repeats, settings), arguments.json)


if __name__ == "__main__":
    main()
