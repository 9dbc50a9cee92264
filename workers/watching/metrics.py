"""All metrics of the workers, each declared once. Rules, alerts and dashboards use these names only.

`python -m workers.watching.metrics` prints the reference page, docs/reference/metrics.md.
"""

from __future__ import annotations

from workers.watching.declared import EVERY_WORKER, counter, gauge, histogram, reference_page
from workers.watching.product_metrics import *  # noqa: F403
from workers.watching.suggestion_metrics import GOES_WITH, OCCASIONS, OCCASIONS_REFUSED, PRICES  # noqa: F401
from workers.watching.typed_metrics import FOLLOWER_BEHIND, TYPED_LISTINGS, TYPED_PHRASES, TYPED_SEARCHES  # noqa: F401

_AGE_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300)
_SHORT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# every worker ------------------------------------------------------------------------------------------------------

READY = gauge(
    "groknet_ready",
    "1 while `/readyz` answers 200, and while a products worker waits because another one has the lease",
    unit="0 or 1",
    high="0 for long: `/readyz` says in one sentence what the worker waits for",
    by=EVERY_WORKER,
)
HEARTBEAT_AGE = gauge(
    "groknet_heartbeat_age_seconds",
    "time since the worker's loop last ran",
    unit="seconds",
    high="above 30 s `/healthz` fails and the supervisor restarts the worker; its log ends with the stacks",
    by=EVERY_WORKER,
)
BATCH_AGE = gauge(
    "groknet_batch_age_seconds",
    "age of the batch that the engine is computing; 0 without one",
    unit="seconds",
    high="above 120 s the worker is restarted; look at the device",
    by=("tagger", "search"),
)
STALE = gauge(
    "groknet_stale",
    "1 while the worker answers from an index that has not caught up",
    unit="0 or 1",
    high="look at the indexer's log, and whether the stream answers",
    by=("indexer", "search", "products"),
)
BUILD_INFO = gauge(
    "groknet_build_info",
    "always 1; the version of groknet and of Python",
    unit="1",
    high="two versions for long: finish the rollout",
    by=(*EVERY_WORKER, "supervisor"),
    labels=("version", "python"),
)
MODEL_INFO = gauge(
    "groknet_model_info",
    "always 1; the model that is loaded, its back end and its hash epoch",
    unit="1",
    high="two epochs for long: `groknet epoch status` names the workers that cannot follow",
    by=("tagger", "search"),
    labels=("version", "engine", "epoch"),
)
ENGINE_SECONDS = histogram(
    "groknet_engine_seconds",
    "inference of one batch, by back end",
    unit="seconds",
    high="compare with `groknet engine bench`; if it is slower, another process uses the cores or the GPU",
    by=("tagger", "search"),
    labels=("engine",),
    buckets=_SHORT_BUCKETS,
)
ENGINE_ERRORS = counter(
    "groknet_engine_errors_total",
    "inferences that failed",
    unit="inferences",
    high="`DeviceLost`: look at the GPU; else one photo is at fault, see `groknet dlq list` for stage `engine`",
    by=("tagger", "search"),
    labels=("error",),
)
DETECT_SECONDS = histogram(
    "groknet_detect_seconds",
    "detection of one batch; shown by workers whose bundle has a detector",
    unit="seconds",
    high="compare with docs/benchmarks; if it is slower, another process uses the cores, or give `detect.backend`",
    by=("tagger", "search"),
    buckets=_SHORT_BUCKETS,
)
BOXES = histogram(
    "groknet_boxes",
    "boxes taken of one photo; 0 means that the whole photo is used",
    unit="boxes",
    high="mostly at the limit: join a bundle with a higher `--threshold` or `--most-boxes` "
    "(`groknet bundle with-detector`), mostly 0: one with a lower threshold; it is another epoch, so back-fill it",
    by=("tagger", "search"),
    buckets=(0, 1, 2, 4, 8, 16, 32, 64),
)
DETECT_ERRORS = counter(
    "groknet_detect_errors_total",
    "detections that failed",
    unit="detections",
    high="`DeviceLost`: look at the device; else one photo is at fault, see `groknet dlq list` for stage `detect`",
    by=("tagger", "search"),
    labels=("error",),
)
QUEUE_DEPTH = gauge(
    "groknet_queue_depth",
    "items that wait before a stage",
    unit="items",
    high="the first full queue stands before the bottleneck",
    by=("tagger", "search"),
    labels=("queue",),
)
EVENTS = counter(
    "groknet_events_total",
    "events that ended, by outcome",
    unit="events",
    high="`dead`: look at `groknet dlq list`; `refused`: look at the indexer's log",
    by=("tagger", "indexer", "products"),
    labels=("stage", "outcome"),
)
STAGE_SECONDS = histogram(
    "groknet_stage_seconds",
    "time in a stage",
    unit="seconds",
    high="`fetch`: slow photo hosts; `decode`: more cores, or `tagger.decode_processes`; `settle`: a slow store",
    by=("tagger", "indexer", "products"),
    labels=("stage",),
    buckets=_SHORT_BUCKETS,
)
EVENT_AGE = histogram(
    "groknet_event_age_seconds",
    "time from upload (timestamp of the message) to the end of a stage: `stored`, `indexed` or `grouped`",
    unit="seconds",
    high="the lag says whether taggers are too few; the stage times say what is slow",
    by=("tagger", "indexer", "products"),
    labels=("stage",),
    buckets=_AGE_BUCKETS,
)
LAST_EVENT = gauge(
    "groknet_last_event_timestamp_seconds",
    "when a stage last finished an event (UTC)",
    unit="seconds",
    high="long ago while the lag grows: nothing is finished; see `groknet_hold` and `/v1/in-hand`",
    by=("tagger", "indexer", "products"),
    labels=("stage",),
)
REMOVAL_SECONDS = histogram(
    "groknet_removal_seconds",
    "time from a removal event until the listing is gone from the store, from the index or from its product",
    unit="seconds",
    high="removed listings are still shown; look at the lag",
    by=("tagger", "indexer", "products"),
    labels=("stage",),
    buckets=_AGE_BUCKETS,
)
REACHABLE = gauge(
    "groknet_reachable",
    "1 if the last probe of a service was answered",
    unit="0 or 1",
    high="0: bring that service back; the worker continues by itself",
    by=EVERY_WORKER,
    labels=("service",),
)

# tagger ------------------------------------------------------------------------------------------------------------

LAG_SECONDS = gauge(
    "groknet_lag_seconds",
    "how long the oldest uncommitted record of this worker's partitions has been due",
    unit="seconds",
    high="rising under load: start more taggers",
    by=("tagger",),
    labels=("topic",),
)
LAG_RECORDS = gauge(
    "groknet_lag_records",
    "records of this worker's partitions that are not committed",
    unit="records",
    high="rising under load: start more taggers",
    by=("tagger",),
    labels=("topic",),
)
HOLD = gauge(
    "groknet_hold",
    "1 while the tagger waits for a service that does not answer",
    unit="0 or 1",
    high="bring that service back; the tagger continues by itself",
    by=("tagger",),
    labels=("service",),
)
ASSIGNED = gauge(
    "groknet_assigned_partitions",
    "partitions that this tagger has",
    unit="partitions",
    high="0 for long: there are more taggers than partitions",
    by=("tagger",),
    labels=("topic",),
)
IN_HAND = gauge(
    "groknet_in_hand_events",
    "events that are taken and not finished",
    unit="events",
    high="at `tagger.max_in_flight_events` the tagger is full: see the queue depths",
    by=("tagger",),
    labels=("lane",),
)
OLDEST_IN_HAND = gauge(
    "groknet_oldest_in_hand_seconds",
    "how long the oldest event has been in hand; 0 without one",
    unit="seconds",
    high="while no hold is on: ask `/v1/in-hand` for the stage in which it waits",
    by=("tagger",),
)
DEAD_LETTERS = counter(
    "groknet_dead_letters_total",
    "dead letters written",
    unit="dead letters",
    high="`groknet dlq list`; repair the cause, then `groknet dlq replay`",
    by=("tagger",),
    labels=("topic", "stage", "error"),
)
RETRIES = counter(
    "groknet_retries_total",
    "events sent to a retry topic",
    unit="events",
    high="one error on many events: look at that photo host",
    by=("tagger",),
    labels=("topic", "error"),
)
UNDELIVERED = gauge(
    "groknet_undelivered_events",
    "events whose retry or dead letter the stream does not take now",
    unit="events",
    high="look at the log of the broker",
    by=("tagger",),
)
BATCH_SIZE = histogram(
    "groknet_batch_size",
    "photos in a batch",
    unit="photos",
    high="full batches are good; small ones under load mean that preparing is the bottleneck",
    by=("tagger",),
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
BATCH_WAIT = histogram(
    "groknet_batch_wait_seconds",
    "how long an idle engine waited for more photos before it closed a batch",
    unit="seconds",
    high="lower `tagger.batch_wait_ms` if latency matters more than throughput",
    by=("tagger",),
    buckets=_SHORT_BUCKETS,
)
BATCH_CLOSED = counter(
    "groknet_batch_closed_total",
    "batches, by the reason for which they closed: size, wait or end",
    unit="batches",
    high="mostly `wait` under load: raise `tagger.prepare_threads` or `tagger.decode_processes`",
    by=("tagger",),
    labels=("reason",),
)
FETCH_BYTES = counter(
    "groknet_fetch_bytes_total",
    "bytes of photos that were fetched",
    unit="bytes",
    high="large photos: nothing to do but pay for the traffic",
    by=("tagger",),
)
FETCHES = gauge(
    "groknet_fetches",
    "photos that are being fetched from other hosts",
    unit="photos",
    high="at `tagger.fetch_threads` for long: hosts are slow, or `tagger.host_connections` is too low for yours",
    by=("tagger",),
)
SLOW_HOSTS = gauge(
    "groknet_slow_hosts",
    "hosts that took longer than `tagger.fetch_event_s` for an event; their events go to a retry topic",
    unit="hosts",
    high="many hosts: look at your own network first",
    by=("tagger",),
)
FETCH_ERRORS = counter(
    "groknet_fetch_errors_total",
    "photos that could not be fetched",
    unit="photos",
    high="look at the photo host; `not_allowed`: see the section `[intake]` of the configuration",
    by=("tagger",),
    labels=("error",),
)
DECODE_MEMORY = gauge(
    "groknet_decode_memory_bytes",
    "memory that decodes hold now, of `decode_memory_mb`",
    unit="bytes",
    high="at the limit for long: photos wait for memory; raise `tagger.decode_memory_mb`, or look for huge photos",
    by=("tagger", "search"),
)
DECODE_ERRORS = counter(
    "groknet_decode_errors_total",
    "photos that could not be decoded",
    unit="photos",
    high="a sender damages photos: `groknet dlq show` names the listing",
    by=("tagger",),
    labels=("error",),
)
PHOTOS = counter(
    "groknet_photos_total",
    "photos that the engine recognised; one with several boxes counts once",
    unit="photos",
    high="nothing to do; it says how many photos the shares below rest on",
    by=("tagger",),
    labels=("version",),
)
PHOTOS_APPLYING = counter(
    "groknet_photos_applying_total",
    "photos of each domain of the bundle; `(none)`: photos of no domain",
    unit="photos",
    high="much `(none)`: the shop sells what this model was not made for",
    by=("tagger",),
    labels=("version", "domain"),
)
BASELINE_APPLYING = gauge(
    "groknet_baseline_applying_share",
    "the share of the baseline's photos that are of each domain",
    unit="share",
    high="nothing to do; it does not change while a model runs",
    by=("tagger",),
    labels=("version", "domain"),
)
PREDICTIONS = counter(
    "groknet_predictions_total",
    "answers of each head: `of=label` by the first offered label, `of=score` by the best probability (upper bound)",
    unit="photos",
    high="compare its shares with the baseline: `groknet drift report`",
    by=("tagger",),
    labels=("version", "head", "of", "bin"),
)
BASELINE = gauge(
    "groknet_baseline_share",
    "the share of the baseline's photos in each bin of `groknet_predictions_total`",
    unit="share",
    high="nothing to do; it does not change while a model runs",
    by=("tagger",),
    labels=("version", "head", "of", "bin"),
)
STORE_WRITE_SECONDS = histogram(
    "groknet_store_write_seconds",
    "one write of all listings that are ready together",
    unit="seconds",
    high="the store is slow: look at its disks, its compactions and its heap",
    by=("tagger",),
    buckets=_SHORT_BUCKETS,
)
STORE_IN_FLIGHT = gauge(
    "groknet_store_in_flight",
    "listings whose write is under way",
    unit="listings",
    high="the store is slow, see `groknet_store_write_seconds`",
    by=("tagger",),
)
COMMIT_GAP = gauge(
    "groknet_commit_gap_offsets",
    "largest distance from the committed offset to the newest record in hand",
    unit="records",
    high="one event blocks its partition: `/v1/in-hand` shows it. A crash repeats so many records",
    by=("tagger",),
    labels=("lane",),
)
COMMIT_ERRORS = counter(
    "groknet_commit_errors_total",
    "commits that failed and are tried again",
    unit="commits",
    high="look at the log of the broker, and at the rebalances",
    by=("tagger",),
    labels=("lane",),
)
REBALANCES = counter(
    "groknet_rebalances_total",
    "times that this member gave up or lost partitions",
    unit="rebalances",
    high="a member joins and leaves again and again: look for a tagger that restarts",
    by=("tagger",),
    labels=("lane",),
)
PAUSED_PARTITIONS = gauge(
    "groknet_paused_partitions",
    "partitions that are paused because the tagger is full, holds, or waits for a due time",
    unit="partitions",
    high="on lane `live` without a hold: the tagger is full, start more",
    by=("tagger",),
    labels=("lane",),
)
LOOP_SECONDS = counter(
    "groknet_loop_seconds_total",
    "the polling thread's time, by activity: poll, submit, backpressure or join",
    unit="seconds",
    high="much `backpressure`: the pipeline is the bottleneck; much `poll`: the tagger is idle",
    by=("tagger",),
    labels=("activity",),
)

# indexer -----------------------------------------------------------------------------------------------------------

INDEX_INFO = gauge(
    "groknet_index_info",
    "always 1; the hash epoch of the index",
    unit="1",
    high="an epoch that no search uses: `groknet epoch status` says whether it may go",
    by=("indexer",),
    labels=("epoch",),
)
INDEX_VECTORS = gauge(
    "groknet_index_vectors",
    "hashes that a search can find",
    unit="hashes",
    high="10 million take about 1 GB; spread the index with `indexer.partitions`",
    by=("indexer",),
)
INDEX_TOMBSTONES = gauge(
    "groknet_index_tombstones",
    "deleted codes that wait for a merge",
    unit="hashes",
    high="above `indexer.max_tombstones` merges do not keep up: the indexer lacks CPU time",
    by=("indexer",),
)
INDEX_APPLIED = gauge(
    "groknet_index_applied_timestamp_seconds",
    "when the index last applied a message (UTC)",
    unit="seconds",
    high="long ago while taggers store events: look at the indexer's log",
    by=("indexer",),
)
INDEX_REFUSED = counter(
    "groknet_index_refused_total",
    "hash messages that the index refused",
    unit="messages",
    high="`epoch`: a tagger of another model writes to this topic; else a sender breaks the schema",
    by=("indexer",),
    labels=("error",),
)

# search ------------------------------------------------------------------------------------------------------------

SEARCH_SECONDS = histogram(
    "groknet_search_seconds",
    "a search, by step: decode, recognise, find, or total; typed: a search by words alone",
    unit="seconds",
    high="`recognise`: the engine is the bottleneck; `find`: the index or the store is",
    by=("search",),
    labels=("step",),
    buckets=_SHORT_BUCKETS,
)
SEARCHES = counter(
    "groknet_searches_total",
    "searches that were answered, by whether a listing is close to the photo: yes or no",
    unit="searches",
    high="many `no`: look at the number of hashes first, then ask what people look for",
    by=("search",),
    labels=("close",),
)
SEARCHES_NOT_KEPT = counter(
    "groknet_searches_not_kept_total",
    "searches that were to be kept and were not, by why: the queue was full, or writing failed",
    unit="searches",
    high="the disk of HOME/kept.db is slow or full, or another process holds the file; the answers are not affected",
    by=("search",),
    labels=("why",),
)
SEARCH_REQUESTS = counter(
    "groknet_search_requests_total",
    "requests that were answered",
    unit="requests",
    high="503: too many requests, or `/readyz` names what is away; 429: one client is too fast; 500: see the log",
    by=("search",),
    labels=("route", "status"),
)

# supervisor --------------------------------------------------------------------------------------------------------

RESTARTS = counter(
    "groknet_worker_restarts_total",
    "times that the supervisor started a worker again",
    unit="restarts",
    high="the worker's log in HOME/logs says why it ended",
    by=("supervisor",),
    labels=("process",),
)
GAVE_UP = gauge(
    "groknet_worker_gave_up",
    "1 if the supervisor does not start a worker again, and nobody started one of its name by hand",
    unit="0 or 1",
    high="`groknet doctor` says why; solve that, then start the worker with `groknet run tagger`",
    by=("supervisor",),
    labels=("process",),
)


if __name__ == "__main__":
    print(reference_page(), end="")
