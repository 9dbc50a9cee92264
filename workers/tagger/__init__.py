"""The tagger: listing events in; prediction rows, hash messages, retries and dead letters out.

Stages with bounded queues, a batcher across events and partitions, effects in one fixed order, offsets that are
committed only behind durable effects. How photos are fetched is `workers.intake`'s, how pixels are made and the
network runs `engines`', where rows and messages go `workers.stores`' and `workers.streams`' concern.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.recognition import RecognitionEngine
from workers import metrics
from workers.intake import Intake, Uploads
from workers.intake.uploads import FOLDER as UPLOADS
from workers.serving import Health
from workers.stores.base import Store
from workers.streams.base import Stream
from workers.tagger.effects import Effects
from workers.tagger.failures import Failures
from workers.tagger.infer import Infer
from workers.tagger.journal import Journal
from workers.tagger.pipeline import Pipeline
from workers.tagger.preparing import build_preparing
from workers.tagger.settings import TaggerSettings
from workers.tagger.tagger import GROUP, Tagger

__all__ = ["GROUP", "Tagger", "TaggerSettings", "build_tagger"]


def build_tagger(
    settings: TaggerSettings,
    *,
    stream: Stream,
    store: Store,
    engine: RecognitionEngine,
    intake: Intake,
    home: Path,
    health: Health,
) -> Tagger:
    """Wire one tagger; the engine is warmed up, which runs its parity photos, before a record is polled."""
    engine.warm_up()
    manifest = engine.manifest
    metrics.MODEL_INFO.labels(manifest.model_version, type(engine).__name__, manifest.epoch).set(1)
    producer = stream.producer()
    failures = Failures(producer, group=GROUP, model_version=manifest.model_version)
    effects = Effects(
        store=store,
        producer=producer,
        failures=failures,
        manifest=manifest,
        timeout_s=settings.delivery_timeout_s,
        encode_listing=msgspec.json.Encoder().encode if settings.publish_predictions else None,
        uploads=Uploads(home / UPLOADS),
    )
    prepare = build_preparing(settings, intake=intake, engine=engine)
    infer = Infer(engine=engine, health=health, slots=prepare.slots)
    pipeline = Pipeline(settings, prepare=prepare, infer=infer, effects=effects, failures=failures)
    journal = Journal(home / "tagger")
    return Tagger(settings, stream=stream, pipeline=pipeline, failures=failures, journal=journal, health=health)
