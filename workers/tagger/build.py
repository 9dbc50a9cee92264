"""Puts one tagger together from its parts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.detection import Detector
from engines.pixels import MOST_PHOTOS, DecodeProcesses, decode_memory_held, limit_decode_memory, open_jpeg_decoder
from engines.recognition import RecognitionEngine
from schemas.baseline import Baseline
from schemas.errors import ConfigError
from schemas.topics import UPLOADED
from workers.hidden_heads import TAGGER, without_heads
from workers.http.serving import Health
from workers.intake import FetchPool, Intake, Uploads
from workers.intake.uploads import FOLDER as UPLOADS
from workers.stages.detect import Detect, Looking
from workers.stages.failures import Failures
from workers.stages.infer import Infer
from workers.stages.prediction_mix import PredictionMix
from workers.stages.prepare import EventPreparer, PrepareInProcesses, PrepareInThread, PrepareStage
from workers.stages.settle import Effects
from workers.stores.base import Store
from workers.streams.base import Stream
from workers.tagger.completion.completion import Completion
from workers.tagger.completion.in_hand import InHand
from workers.tagger.completion.journal import Journal
from workers.tagger.hold import Hold
from workers.tagger.lane import Lane
from workers.tagger.pipeline import Pipeline
from workers.tagger.settings import TaggerSettings
from workers.tagger.tagger import GROUP, LIVE, RETRY, Tagger, sources
from workers.tagger.watch import Probe, Watch
from workers.watching import metrics

_RETRY_THREADS = 1  # a slow photo host then delays other retries, but no live listing
_RETRY_SHARE = 4  # live events have so many times the fetching threads of retries
_BATCHES_DECODED = 4  # batches of decoded photos that may wait for the engine, as many as its queue takes


def build_tagger(
    settings: TaggerSettings,
    *,
    stream: Stream,
    store: Store,
    engine: RecognitionEngine,
    intake: Intake,
    home: Path,
    health: Health,
    in_hand: InHand | None = None,
    baseline: Baseline | None = None,
    detector: Detector | None = None,
) -> Tagger:
    """Build one tagger and warm up its engine, which checks the engine's parity photos.

    `detector` is needed where the engine's manifest has `detection`, and is warmed up as well.

    Pass `in_hand` to share the list of events in hand with other parts of the process. With the bundle's `baseline`,
    the tagger counts its answers in the baseline's bins.

    Raises:
        ConfigError: the JPEG decoder is not available, too many taggers share `home`, `hidden_heads` names a head that
            the bundle does not have, the bundle's detector is missing, or `decode_processes` is set with detection.
    """
    manifest = without_heads(engine.manifest, settings.hidden_heads, TAGGER)
    looking = Looking.of(manifest, detector)
    engine.warm_up()
    if looking is not None:
        looking.detector.warm_up()
        metrics.DETECT_ERRORS.labels("DeviceLost")  # shown as 0 before the first one
    metrics.MODEL_INFO.labels(manifest.model_version, engine.backend, manifest.epoch).set(1)
    metrics.ENGINE_ERRORS.labels("DeviceLost")
    producer = stream.producer()
    failures = Failures(producer, group=GROUP, model_version=manifest.model_version, keep_blob=store.keep_blob)
    effects = Effects(
        store=store,
        producer=producer,
        failures=failures,
        manifest=manifest,
        timeout_s=settings.delivery_timeout_s,
        encode_listing=msgspec.json.Encoder().encode if settings.publish_predictions else None,
        uploads=Uploads(home / UPLOADS),
    )
    probe = Probe(stream.admin, UPLOADED)
    hold = Hold({"store": store.probe, "stream": probe}, health)
    journal = Journal(home / "tagger")
    prepare = build_prepare(settings, intake=intake, engine=engine, more_threads=_RETRY_THREADS, looking=looking)
    pipeline = Pipeline(
        settings,
        lanes={LIVE: settings.prepare_threads, RETRY: _RETRY_THREADS},
        fetch={
            LIVE: build_pool(settings, intake, retries=False),
            RETRY: build_pool(settings, intake, retries=True),
        },
        prepare=prepare,
        infer=Infer(
            engine=engine,
            manifest=manifest,
            health=health,
            slots=prepare.slots,
            mix=PredictionMix(manifest, baseline),
            keep_embedding=settings.keep_embedding,
        ),
        effects=effects,
        failures=failures,
        hold=hold,
        completion=Completion(journal, in_hand or InHand()),
        detect=None if looking is None else Detect(looking, health),
    )
    lanes = [Lane(source, settings, stream=stream, pipeline=pipeline, journal=journal) for source in sources(settings)]
    watch = Watch(
        lanes,
        hold,
        admin=probe.admin,
        interval_s=settings.watch_interval_s,
        outcomes=pipeline.outcomes,
        in_flight=pipeline.in_flight,
    )
    return Tagger(lanes, pipeline=pipeline, journal=journal, health=health, watch=watch, probe=probe)


def build_pool(settings: TaggerSettings, intake: Intake, *, retries: bool) -> FetchPool:
    """Build what fetches the photos of one lane: of retries, which have time, or of live events."""
    return FetchPool(
        intake,
        threads=max(1, settings.fetch_threads // _RETRY_SHARE) if retries else settings.fetch_threads,
        host_connections=settings.host_connections,
        event_s=settings.retry_fetch_event_s if retries else settings.fetch_event_s,
        most_bytes=settings.max_fetched_bytes,
        patient=retries,
        name="fetch-retry" if retries else "fetch",
    )


def build_prepare(
    settings: TaggerSettings,
    *,
    intake: Intake,
    engine: RecognitionEngine,
    more_threads: int = 0,
    looking: Looking | None = None,
) -> PrepareStage:
    """Build the prepare stage for `prepare_threads` and `more_threads` threads. With `looking` it prepares photos for
    the detect stage.

    Raises:
        ConfigError: the JPEG decoder is not available, or `decode_processes` is set with `looking`.
    """
    if settings.decode_processes and looking is not None:
        text = "tagger.decode_processes: boxes are cut from the decoded photo, which decode processes do not hand over"
        raise ConfigError(f"{text}; set decode_processes = 0, or run a bundle without detection")
    limit_decode_memory(settings.decode_memory_mb)
    metrics.DECODE_MEMORY.set_function(decode_memory_held)
    preprocess = engine.manifest.preprocess
    if settings.decode_processes:
        size = min(settings.batch_size, engine.max_batch)
        processes = DecodeProcesses(
            settings.decode_processes,
            preprocess,
            thumbnail_side=settings.thumbnail_side if settings.thumbnails else 0,
            slots=_BATCHES_DECODED * size + MOST_PHOTOS * (settings.prepare_threads + more_threads),
        )
        return PrepareInProcesses(intake, processes, most=MOST_PHOTOS, wait_s=settings.batch_wait_ms / 1000)
    return PrepareInThread(
        EventPreparer(
            intake=intake,
            preprocess=preprocess,
            thumbnail_side=settings.thumbnail_side,
            thumbnails=settings.thumbnails,
            jpeg=open_jpeg_decoder(settings.jpeg_decoder),
            looking=looking,
        )
    )
