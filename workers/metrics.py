"""All metrics of the workers, each declared once. Dashboards and alerts should use these names only."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_AGE_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300)
_SHORT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

EVENTS = Counter("groknet_events_total", "Events by stage and outcome", ["stage", "outcome"])
STAGE_SECONDS = Histogram("groknet_stage_seconds", "Time in a stage", ["stage"], buckets=_SHORT_BUCKETS)
BATCH_SIZE = Histogram("groknet_batch_size", "Photos a batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128))
BATCH_WAIT = Histogram(
    "groknet_batch_wait_seconds", "First photo's wait until its batch closed", buckets=_SHORT_BUCKETS
)
BATCH_CLOSED = Counter("groknet_batch_closed_total", "Batches by why they closed", ["reason"])
ENGINE_SECONDS = Histogram("groknet_engine_seconds", "Inference of a batch", ["engine"], buckets=_SHORT_BUCKETS)
ENGINE_ERRORS = Counter("groknet_engine_errors_total", "Failed inferences", ["error"])
FETCH_BYTES = Counter("groknet_fetch_bytes", "Bytes of photos fetched")
FETCH_ERRORS = Counter("groknet_fetch_errors_total", "Photos that could not be fetched", ["error"])
DECODE_ERRORS = Counter("groknet_decode_errors_total", "Photos that could not be decoded", ["error"])
DECODE_MEMORY = Gauge("groknet_decode_memory_bytes", "Memory that decodes hold now, of decode_memory_mb")
STORE_WRITE_SECONDS = Histogram(
    "groknet_store_write_seconds", "A write of listings that are ready together", buckets=_SHORT_BUCKETS
)
STORE_IN_FLIGHT = Gauge("groknet_store_in_flight", "Writes under way")
COMMIT_GAP = Gauge("groknet_commit_gap_offsets", "Largest distance from commit to the newest record in hand", ["lane"])
PAUSED_PARTITIONS = Gauge(
    "groknet_paused_partitions", "Partitions paused for backpressure, for a hold or for a due time", ["lane"]
)
LOOP_SECONDS = Counter("groknet_loop_seconds_total", "The polling thread's time by activity", ["activity"])
QUEUE_DEPTH = Gauge("groknet_queue_depth", "Items waiting in a bounded queue", ["queue"])
IN_HAND = Gauge("groknet_in_hand_events", "Events taken and not finished", ["lane"])
OLDEST_IN_HAND = Gauge("groknet_oldest_in_hand_seconds", "How long the oldest event has been in hand; 0 without one")
UNDELIVERED = Gauge("groknet_undelivered_events", "Events whose retry or dead letter the stream does not take now")
ASSIGNED = Gauge("groknet_assigned_partitions", "Partitions that this worker has, by topic", ["topic"])
LAG_RECORDS = Gauge("groknet_lag_records", "Records of this worker's partitions that are not committed", ["topic"])
LAG_SECONDS = Gauge(
    "groknet_lag_seconds", "How long the oldest uncommitted record has been due in this worker's partitions", ["topic"]
)
HOLD = Gauge("groknet_hold", "1 while this worker waits for a service that does not answer", ["service"])
REACHABLE = Gauge("groknet_reachable", "1 when the last probe of a service was answered", ["service"])
DEAD_LETTERS = Counter("groknet_dead_letters_total", "Dead letters written", ["topic", "stage", "error"])
RETRIES = Counter("groknet_retries_total", "Events sent to a retry topic", ["topic", "error"])
EVENT_AGE = Histogram(
    "groknet_event_age_seconds", "Upload (message timestamp) to end of stage", ["stage"], buckets=_AGE_BUCKETS
)
LAST_EVENT = Gauge("groknet_last_event_timestamp_seconds", "When a stage last finished an event", ["stage"])
REMOVAL_SECONDS = Histogram(
    "groknet_removal_seconds", "Removal event to gone from store or index", ["stage"], buckets=_AGE_BUCKETS
)
INDEX_VECTORS = Gauge("groknet_index_vectors", "Hashes that a search can find")
INDEX_TOMBSTONES = Gauge("groknet_index_tombstones", "Dead codes waiting for compaction")
INDEX_APPLIED = Gauge("groknet_index_applied_timestamp_seconds", "When the index last applied a message")
INDEX_REFUSED = Counter("groknet_index_refused_total", "Hash messages refused", ["error"])
SEARCH_SECONDS = Histogram("groknet_search_seconds", "A search request by step", ["step"], buckets=_SHORT_BUCKETS)
SEARCH_REQUESTS = Counter("groknet_search_requests_total", "Search requests by route and status", ["route", "status"])
MODEL_INFO = Gauge("groknet_model_info", "Always 1; what is loaded", ["version", "engine", "epoch"])
