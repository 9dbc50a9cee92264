"""What re-scoring adds to a search: `python -m benchmarks.search.rescore_cost`.

Two stores hold the same 60 listings of studio photos under the demo bundle, one with embeddings in its rows and one
without. In turn, 50 listings are read from each and ordered for a photo, as the search service does after the index has
answered. The processor time of both and of the engine for one photo is compared, so other work on the machine does not
count. A search without re-scoring takes at least the engine and the reading.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.report import parser
from engines.recognition import RecognitionEngine, Unrounded, build_engine
from schemas.events import ImageRef, ListingEvent
from schemas.predictions import StoredListing, Summary
from training.bundle.raw_bundle import parity_photos
from workers.indexer.wire import Neighbour
from workers.search import SearchSettings
from workers.search.find.finder import RERANKED, Finder, Found
from workers.search.find.indexers import Indexers
from workers.search.find.labels.naming import Names
from workers.search.find.labels.usefulness import Usefulness
from workers.stages.pooling import image_rows
from workers.stores import Store, build_store

LISTINGS, ROUNDS = 60, 200


def fill(stores: Mapping[bool, Store], engine: RecognitionEngine) -> None:
    """Store LISTINGS listings of one photo each, parity photos with noise, by whether embeddings are kept."""
    manifest, rng, photos = engine.manifest, np.random.default_rng(0), parity_photos(engine.manifest.preprocess.width)
    for i in range(LISTINGS):
        noise = rng.integers(-20, 21, photos.shape[1:])
        pixels = np.clip(photos[i % len(photos)].astype(np.int64) + noise, 0, 255).astype(np.uint8)
        output = engine.infer(pixels[None])
        event = ListingEvent(
            event_id=f"{i}",
            listing_id=f"l{i:03}",
            event_time=1_750_000_000_000_000,
            type="created",
            images=[ImageRef(image_id="1", url="https://photos.example/1.jpg")],
        )
        for keep, store in stores.items():
            rows = image_rows(manifest, ["1"], output, keep_embedding=keep)
            summary = Summary(
                status="complete", predictions=rows[0].predictions, bad_images=[], applies=rows[0].applies
            )
            listing = StoredListing(
                listing_id=event.listing_id,
                event_time=event.event_time,
                model_version=manifest.model_version,
                epoch=manifest.epoch,
                event=event,
                summary=summary,
                images=rows,
                stored_at=0,
            )
            store.write(listing, {})


def cost_ms(store: Store, finder: Finder, photo: Unrounded, names: list[str]) -> float:
    """Processor time of reading and ordering listings, ms."""
    began = time.process_time()
    stored = store.get(names)
    found = []
    for name in names:
        one = stored[name]
        if isinstance(one, StoredListing):
            found.append(Found(Neighbour(listing_id=name, image_id="1", distance=64), one, 0.5))
    finder.refined(photo, found)
    return 1000 * (time.process_time() - began)


def main() -> int:
    """Measure, and print one JSON object. Returns the exit code."""
    arguments = parser(__doc__, tells="result", bundle=True).parse_args()
    engine = build_engine(arguments.bundle, threads=1)
    manifest, settings = engine.manifest, SearchSettings()
    names = Names(manifest, Usefulness(manifest, settings.category_columns, settings.hidden_heads))
    photo = parity_photos(manifest.preprocess.width)[:1]
    unrounded = engine.infer(photo).unrounded(0)
    assert unrounded is not None
    rng, spent = np.random.default_rng(1), dict[bool, list[float]]({False: [], True: []})
    with tempfile.TemporaryDirectory() as folder, closing(Indexers([], 1.0, 1, manifest.epoch)) as indexers:
        stores = {keep: build_store(f"sqlite://{Path(folder) / str(keep)}.db") for keep in (False, True)}
        finders = {keep: Finder(store, indexers, manifest, names) for keep, store in stores.items()}
        fill(stores, engine)
        for turn in range(ROUNDS):
            chosen = [f"l{i:03}" for i in rng.permutation(LISTINGS)[:RERANKED]]
            for keep in (False, True) if turn % 2 else (True, False):
                spent[keep].append(cost_ms(stores[keep], finders[keep], unrounded, chosen))
        for store in stores.values():
            store.close()
    began = time.process_time()
    for _ in range(20):
        engine.infer(photo)
    told = {"engine_ms": 1000 * (time.process_time() - began) / 20}
    for keep, name in ((False, "without"), (True, "with")):
        told |= {f"{name}_p50_ms": float(np.quantile(spent[keep], 0.5))}
        told |= {f"{name}_p99_ms": float(np.quantile(spent[keep], 0.99))}
    told["ratio_p99"] = (told["engine_ms"] + told["with_p99_ms"]) / (told["engine_ms"] + told["without_p99_ms"])
    sys.stdout.write(json.dumps({name: round(value, 3) for name, value in told.items()}, indent=1) + "\n")
    engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
