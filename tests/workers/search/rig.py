"""A whole search: embedded log and store, a real (tiny) bundle, an indexer and the service, all on loopback."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import urllib3
from msgspec import structs
from PIL import Image

from engines.pixels import decode_photo
from engines.recognition import RecognitionEngine, build_engine, in_eight_bits
from schemas.events import ImageRef, ListingEvent
from schemas.hashes import HashMessage, ImageHash
from schemas.predictions import StoredListing, Summary
from tests.engines.tiny_bundle import write_tiny_bundle
from tests.workers.indexer.hash_topic import BASE_US, Publisher, stream_at
from tests.workers.indexer.running import Running, until
from workers.http.serving import Health, Server, serve
from workers.intake import Intake, IntakeSettings
from workers.search import SearchSettings, TextTower, build_search
from workers.stages.detect import Looking
from workers.stages.pooling import image_rows
from workers.stores import Store, build_store
from workers.streams import Stream

HTTP = urllib3.PoolManager(retries=False, timeout=20, maxsize=32)


def photo(seed: int, side: int = 64, format_: str = "JPEG") -> bytes:
    """A photo of a coloured blob on a coloured ground, different for each seed."""
    rng = np.random.default_rng(seed)
    ground, blob = rng.integers(0, 256, (2, 3))
    y, x = np.mgrid[:side, :side] / side
    middle = rng.uniform(0.2, 0.8, 2)
    inside = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < rng.uniform(0.02, 0.1)
    pixels = np.where(inside[..., None], blob, ground).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_, quality=95)
    return file.getvalue()


class Rig:
    """What the tests drive; `add` does what a tagger does with an event."""

    def __init__(self, home: Path, engine: RecognitionEngine, store: Store, publisher: Publisher) -> None:
        self.home = home
        self.stream: Stream | None = None
        self.engine = engine
        self.store = store
        self.publisher = publisher
        self.indexer: Running
        self.server: Server
        self.health: Health
        self.hashes: dict[tuple[str, str], str] = {}
        self.kept = "embedding"
        """What rows keep of a photo beside its hash: `embedding`, `margins` as older rows, or nothing."""

    def add(self, listing_id: str, photos: dict[str, bytes], time_: int = 1, **fields: Any) -> None:
        event = ListingEvent(
            event_id=f"{listing_id}@{time_}",
            listing_id=listing_id,
            event_time=BASE_US + time_,
            type="updated",
            images=[ImageRef(image_id=image_id, data=data) for image_id, data in photos.items()],
            **fields,
        )
        manifest, rows, thumbnails = self.engine.manifest, [], {}
        for image_id, data in photos.items():
            decoded = decode_photo(data, manifest.preprocess)
            found = self.engine.infer(decoded.pixels[None])
            made = image_rows(manifest, [image_id], found, keep_embedding=self.kept == "embedding")
            if self.kept == "margins" and (unrounded := found.unrounded(0)) is not None:
                margins = in_eight_bits(unrounded.margins[None]).tobytes()
                made = [structs.replace(made[0], margins=margins)]
            rows += made
            thumbnails[image_id] = decoded.thumbnail
            self.hashes[listing_id, image_id] = found.hash_hex(0)
        stored = StoredListing(
            listing_id=listing_id,
            event_time=event.event_time,
            model_version=manifest.model_version,
            epoch=manifest.epoch,
            event=event,
            summary=Summary(status="complete", predictions=rows[0].predictions, bad_images=[], applies=rows[0].applies),
            images=rows,
            stored_at=time.time_ns() // 1000,
        )
        self.store.write(stored, thumbnails)
        self.publish(stored)

    def publish(self, stored: StoredListing) -> None:
        sent = HashMessage(
            listing_id=stored.listing_id,
            event_time=stored.event_time,
            epoch=stored.epoch,
            model_version=stored.model_version,
            state=stored.event.state,
            category=stored.event.category,
            images=[ImageHash(image_id=row.image_id, hash=row.hash) for row in stored.images],
        )
        self.publisher.put(sent, uploaded_us=stored.stored_at - 250_000)
        self.publisher.flush()

    def remove(self, listing_id: str, time_: int, *, publish: bool = True) -> None:
        event = ListingEvent(event_id="gone", listing_id=listing_id, event_time=BASE_US + time_, type="removed")
        self.store.remove(event)
        if publish:
            self.publisher.remove(listing_id, time_)
            self.publisher.flush()

    def indexed(self, count: int) -> None:
        until(lambda: self.indexer.health.ready and self.count() == count)

    def count(self) -> int:
        return len(self.indexer.ask(hashes=["0" * 64], k=2000)[1]["neighbours"][0])

    def get(self, path: str) -> tuple[int, Any]:
        answer = HTTP.request("GET", self.server.url + path)
        return answer.status, json.loads(answer.data)

    def search(self, data: bytes, query: str = "", content_type: str = "image/jpeg") -> tuple[int, Any]:
        headers = {"content-type": content_type}
        answer = HTTP.request("POST", f"{self.server.url}/v1/search{query}", body=data, headers=headers)
        return answer.status, json.loads(answer.data)


@contextmanager
def rig(home: Path, bundle: Path | None = None, **settings: Any) -> Iterator[Rig]:
    """Everything started and ready, over a tiny bundle or the one given, and stopped afterwards."""
    if bundle is None:
        bundle = home / "bundle"
        write_tiny_bundle(bundle)
    stream = stream_at(home)
    with ExitStack() as stack:  # whatever is raised within: its threads would keep the process alive
        engine = build_engine(bundle, threads=1, max_batch=4)
        stack.callback(engine.close)
        store = stack.enter_context(closing(build_store(f"sqlite://{home}/store.db")))
        epoch = engine.manifest.epoch
        made = Rig(home, engine, store, stack.enter_context(Publisher(stream, epoch)))
        made.stream = stream
        made.indexer = Running(stream, home, epoch)
        stack.callback(made.indexer.stop)
        made.indexer.start()
        stack.enter_context(served(made, **settings))
        until(lambda: made.health.ready)
        yield made


@contextmanager
def served(
    made: Rig, *, looking: Looking | None = None, tower: TextTower | None = None, **settings: Any
) -> Iterator[Rig]:
    """The service alone, over what the rig has, in the place of the one before; with a detector or a text model if one
    is given."""
    before = {name: value for name, value in vars(made).items() if name in {"server", "health"}}
    urls = [made.indexer.server.url]
    chosen = SearchSettings(**({"port": 0, "indexer_urls": urls, "probe_interval_s": 0.05} | settings))
    made.health = Health()
    parts = {"store": made.store, "engine": made.engine, "health": made.health, "looking": looking}
    parts |= {"stream": made.stream, "tower": tower}
    app = build_search(chosen, intake=Intake(IntakeSettings()), kept=made.home / "kept.db", **parts)
    made.server = serve(app, chosen.host, chosen.port, chosen.http_limits())
    try:
        yield made
    finally:
        made.server.stop()
        vars(made).update(before)
