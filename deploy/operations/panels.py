"""What the dashboards show: every panel with its queries, unit, thresholds and the alert whose section explains it."""

from __future__ import annotations

from deploy.operations.drift import NO_CLOSE_SHARE, NOTHING, PSI, SHARE
from deploy.operations.panel_parts import INDEX_OF, MODEL_OF, OF, RATE, Board, Panel, Query, by_label, quantiles, rate

_FRESHNESS = Panel(
    "Upload to searchable",
    "Time from upload until a search finds the listing. The objective: 99 % within 5 s.",
    "s",
    quantiles("groknet_event_age_seconds", ',stage="indexed"'),
    warn=3,
    bad=5,
    alert="GroknetFreshnessBurnFast",
)
_SEARCH = Panel(
    "Search",
    "Time of a search by photo, without sending it. The objective: 99 % within 1 s.",
    "s",
    quantiles("groknet_search_seconds", ',step="total"'),
    warn=0.5,
    bad=1,
    alert="GroknetSearchBurnFast",
)
_LAG_S = Panel(
    "Lag in seconds",
    "How long the oldest event has waited.",
    "s",
    (by_label("groknet_lag_seconds", "topic", "max"),),
    warn=5,
    bad=30,
    alert="GroknetLagKeepsIncreasing",
)
_LAG = Panel("Lag in records", "Events that are not committed.", "short", (by_label("groknet_lag_records", "topic"),))
_HOLD = Panel(
    "Hold",
    "1 while taggers wait for a service that does not answer.",
    "short",
    (by_label("groknet_hold", "service", "max"),),
    bad=1,
    alert="GroknetHold",
    number=True,
)
_OUTCOMES = Panel("Events by outcome", "What became of the events.", "ops", (rate("groknet_events_total", "outcome"),))
_READY = Panel(
    "Not ready",
    "Workers that do not accept work now.",
    "short",
    (Query('count(groknet_ready{job="$job"} == 0) or vector(0)', "workers"),),
    warn=1,
    bad=1,
    alert="GroknetWorkerNotReady",
    number=True,
)
_DEAD = Panel(
    "Dead letters",
    "Events and photos that were given up, by stage.",
    "ops",
    (rate("groknet_dead_letters_total", "stage"),),
    alert="GroknetDeadLettersMany",
)
_ANSWERS = Panel(
    "Answers by status",
    "Requests to the search service.",
    "reqps",
    (rate("groknet_search_requests_total", "status"),),
    alert="GroknetSearchRefuses",
)

OVERVIEW = Board(
    "groknet-overview",
    "GrokNet / Overview",
    "For whoever is called at night: is it fresh, does search answer, what is away.",
    {
        "Now": (_READY, _HOLD),
        "Freshness": (_FRESHNESS, _LAG_S, _LAG),
        "Errors": (_OUTCOMES, _DEAD),
        "Search": (_SEARCH, _ANSWERS),
    },
)

TAGGER = Board(
    "groknet-tagger",
    "GrokNet / Tagger",
    "Where the time of a tagger goes, and which stage is the bottleneck.",
    {
        "Pipeline": (
            Panel(
                "Stages",
                "Time in each stage, 99th percentile first.",
                "s",
                quantiles("groknet_stage_seconds", "", by="stage"),
            ),
            Panel(
                "Queues",
                "Items before each stage. The first full queue stands before the bottleneck.",
                "short",
                (by_label("groknet_queue_depth", "queue"),),
            ),
            Panel(
                "Events in hand",
                "Events between poll and commit.",
                "short",
                (by_label("groknet_in_hand_events", "lane"),),
            ),
            Panel(
                "Oldest event in hand",
                "High while no hold is on: ask /v1/in-hand.",
                "s",
                (by_label("groknet_oldest_in_hand_seconds", "name", "max"),),
                warn=30,
                bad=120,
                alert="GroknetStalled",
            ),
        ),
        "Batches": (
            Panel("Photos in a batch", "Full batches are good.", "short", quantiles("groknet_batch_size", "")),
            Panel(
                "Why batches close",
                "Mostly `wait` under load: preparing is the bottleneck.",
                "ops",
                (rate("groknet_batch_closed_total", "reason"),),
            ),
        ),
        "Photos": (
            Panel("Fetched bytes", "Traffic of photos.", "Bps", (rate("groknet_fetch_bytes_total", "name"),)),
            Panel(
                "Fetches that failed",
                "By kind.",
                "ops",
                (rate("groknet_fetch_errors_total", "error"),),
                alert="GroknetFetchesFail",
            ),
            Panel("Photos that are damaged", "By kind.", "ops", (rate("groknet_decode_errors_total", "error"),)),
            Panel("Retries", "Events sent to a retry topic.", "ops", (rate("groknet_retries_total", "error"),)),
        ),
        "Process": (
            Panel(
                "Memory",
                "Resident memory of the processes.",
                "bytes",
                (by_label("process_resident_memory_bytes", "name"),),
            ),
            Panel(
                "Open files",
                "Files and connections.",
                "short",
                (by_label("process_open_fds", "name"),),
                alert="GroknetFilesNearLimit",
            ),
        ),
    },
)

INDEX_AND_SEARCH = Board(
    "groknet-index-search",
    "GrokNet / Index and search",
    "Whether the index is current, and where the time of a search goes.",
    {
        "Index": (
            Panel(
                "Hashes",
                "What a search can find, of the chosen epochs.",
                "short",
                (Query(f"groknet_index_vectors{{{OF}}} and {INDEX_OF}", "{{name}}"),),
            ),
            Panel(
                "Deleted codes",
                "Codes that wait for a merge.",
                "short",
                (Query(f"groknet_index_tombstones{{{OF}}} and {INDEX_OF}", "{{name}}"),),
                warn=50_000,
                bad=100_000,
            ),
            Panel(
                "Refused messages",
                "Hash messages that the index cannot use.",
                "ops",
                (rate("groknet_index_refused_total", "error"),),
                alert="GroknetIndexRefuses",
            ),
            Panel(
                "Behind",
                "1 while an indexer has not caught up with the hash topic.",
                "short",
                (by_label("groknet_stale", "name", "max"),),
                bad=1,
                alert="GroknetIndexStale",
                number=True,
            ),
        ),
        "Prices and what goes with a listing": (
            Panel("Prices", "By what they are made of.", "ops", (rate("groknet_price_suggestions_total", "source"),)),
            Panel("Goes with", "Answered listings.", "ops", (rate("groknet_goes_with_total", "source"),)),
            Panel("Occasions", "Carts, views and scenes.", "short", (by_label("groknet_occasions", "name"),)),
            Panel("Refused occasions", "By reason.", "ops", (rate("groknet_occasions_refused_total", "error"),)),
        ),
        "Search": (
            _SEARCH,
            Panel("Steps", "Where the time goes.", "s", quantiles("groknet_search_seconds", "", by="step")),
            Panel(
                "Typed queries",
                "Queries by whether a listing was found, and their phrases by how they were understood.",
                "reqps",
                (
                    Query(f"sum by (found) (rate(groknet_typed_searches_total{{{OF}}}{RATE}))", "found: {{found}}"),
                    rate("groknet_typed_phrases_total", "understood"),
                ),
            ),
            Panel(
                "Listings for typed queries",
                "How many listings typed queries can find, and for how many there was no room.",
                "short",
                (by_label("groknet_typed_listings", "room", "max"),),
            ),
            _ANSWERS,
            Panel(
                "Follows",
                "Seconds since search last had all labels for typed queries, and all occasions.",
                "s",
                (by_label("groknet_follower_behind_seconds", "of", "max"),),
                warn=30,
                bad=60,
                alert="GroknetSearchFollowsLate",
            ),
            Panel(
                "Reachable",
                "0 while search cannot reach a service.",
                "short",
                (Query('min by (service) (groknet_reachable{job="$job",worker="search"})', "{{service}}"),),
                alert="GroknetSearchDegraded",
            ),
        ),
        "Products": (
            Panel(
                "Products",
                "Products, their listings, and listings that wait; empty where the products worker is off.",
                "short",
                tuple(by_label(f"groknet_product{name}", "__name__") for name in ("s", "_listings", "_unsettled")),
            ),
            Panel(
                "Changes of products",
                "Listings that join, move and leave, ids that merge and end, and refused messages.",
                "ops",
                (rate("groknet_product_changes_total", "change"), rate("groknet_product_refused_total", "error")),
                alert="GroknetProductsRefuse",
            ),
            Panel("Regrouped", "Listings grouped anew.", "short", quantiles("groknet_product_region_listings", "")),
        ),
    },
)

_HEAD = 'job="$job",head=~"$head"'


def _shares(of: str, bins: str = "", what: str = "") -> tuple[Query, ...]:
    """The live share of each bin over six hours, and the baseline's."""
    return (
        Query(f'sum by (head, bin) ({SHARE}{{{_HEAD},of="{of}"{bins}}})', f"{{{{head}}}} {what or '{{bin}}'}"),
        Query(
            f'max by (head, bin) (groknet_baseline_share{{{_HEAD},of="{of}"{bins}}})',
            f"{{{{head}}}} {what or '{{bin}}'}, baseline",
        ),
    )


_DRIFT_ROWS: dict[str, tuple[Panel, ...]] = {
    "Drift": (
        Panel(
            "Distance from the baseline",
            "Population-stability index of each head, by labels and by scores. Above 0.2 its answers have changed.",
            "short",
            (Query(f"max by (head, of) ({PSI}{{{_HEAD}}})", "{{head}} {{of}}"),),
            warn=0.1,
            bad=0.2,
            alert="GroknetPredictionsDrift",
        ),
        Panel(
            "Photos to which nothing applies",
            "Share of the photos of six hours that are of no domain of the model, and of the baseline's photos.",
            "percentunit",
            (
                Query(f'max by (version) ({NOTHING}{{job="$job"}})', "now"),
                Query(
                    f'max by (version) (groknet_baseline_applying_share{{{OF},domain="(none)"}})',
                    "baseline",
                ),
            ),
            alert="GroknetNothingApplies",
        ),
        Panel(
            "Searches without a close listing",
            "Share of the searches of six hours.",
            "percentunit",
            (Query(f'max by (job) ({NO_CLOSE_SHARE}{{job="$job"}})', "searches"),),
            warn=0.3,
            bad=0.5,
            alert="GroknetNoCloseNeighbour",
        ),
    ),
    "Prediction mix": (
        Panel("Offered labels", "Share of the photos by first offered label.", "percentunit", _shares("label")),
        Panel(
            "Photos by domain",
            "Share of the photos that are of each domain. A photo can be of several.",
            "percentunit",
            (
                Query(
                    f"sum by (domain) (rate(groknet_photos_applying_total{{{OF}}}{RATE}))"
                    f" / on () group_left () (sum(rate(groknet_photos_total{{{OF}}}{RATE})) > 0)",
                    "{{domain}}",
                ),
                Query(f"max by (domain) (groknet_baseline_applying_share{{{OF}}})", "{{domain}}, baseline"),
            ),
        ),
    ),
    "Calibration": (
        Panel(
            "Best probability",
            "Share of the photos by the calibrated probability of the best label (upper bound of the bin). Live photos "
            "have no labels, so calibration itself is not measured. It holds while this is as in the baseline.",
            "percentunit",
            _shares("score"),
            alert="GroknetPredictionsDrift",
        ),
        Panel(
            "Photos without an offered label",
            "Share of the photos for which a head offers nothing.",
            "percentunit",
            _shares("label", ',bin="(none)"', "offers nothing"),
        ),
    ),
}

MODEL = Board(
    "groknet-model",
    "GrokNet / Model",
    "Which model runs where, how fast it computes, and whether its answers drift.",
    {
        "What runs": (
            Panel(
                "Models",
                "Workers by model, back end and hash epoch.",
                "short",
                (
                    Query(
                        'count by (version, engine, epoch) (groknet_model_info{job="$job",epoch=~"$epoch"})',
                        "{{version}} on {{engine}}, epoch {{epoch}}",
                    ),
                ),
                alert="GroknetModelsMixed",
            ),
            Panel(
                "Index epochs",
                "Indexers by epoch. Search needs one of its own epoch.",
                "short",
                (Query('count by (epoch) (groknet_index_info{job="$job",epoch=~"$epoch"})', "epoch {{epoch}}"),),
                alert="GroknetIndexOfOtherEpoch",
            ),
        ),
        "Inference": (
            Panel(
                "Time of a batch",
                "By back end.",
                "s",
                quantiles("groknet_engine_seconds", "", by="engine", keep=MODEL_OF),
            ),
            Panel(
                "Batches",
                "By back end.",
                "ops",
                (rate("groknet_engine_seconds_count", "engine", keep=MODEL_OF),),
            ),
            Panel(
                "Failures",
                "Inferences that failed, by error.",
                "ops",
                (rate("groknet_engine_errors_total", "error", keep=MODEL_OF),),
                alert="GroknetEngineFails",
            ),
        ),
        **_DRIFT_ROWS,
    },
    by_head=True,
)

CLIENTS = Board(
    "groknet-clients",
    "GrokNet / Kafka and Cassandra clients",
    "What the workers see of the stream and the store.",
    {
        "Stream": (
            Panel("Assigned partitions", "By topic.", "short", (by_label("groknet_assigned_partitions", "topic"),)),
            Panel(
                "Paused partitions",
                "On lane `live` without a hold: the tagger is full.",
                "short",
                (by_label("groknet_paused_partitions", "lane"),),
            ),
            Panel(
                "Gap between commit and newest record",
                "A crash repeats so many records.",
                "short",
                (by_label("groknet_commit_gap_offsets", "name", "max"),),
                warn=1_000,
                bad=5_000,
                alert="GroknetCommitsBlocked",
            ),
            Panel(
                "Rebalances",
                "Times that partitions were given up or lost.",
                "ops",
                (rate("groknet_rebalances_total", "lane"),),
                alert="GroknetRebalancesOften",
            ),
            Panel(
                "Commits that failed", "They are tried again.", "ops", (rate("groknet_commit_errors_total", "lane"),)
            ),
            Panel(
                "Time of the polling thread",
                "Seconds a second, by activity.",
                "short",
                (rate("groknet_loop_seconds_total", "activity"),),
            ),
            Panel(
                "Undelivered",
                "Retries and dead letters that the stream does not take now.",
                "short",
                (by_label("groknet_undelivered_events", "name"),),
                warn=1,
                bad=10,
                alert="GroknetUndelivered",
            ),
        ),
        "Store": (
            Panel(
                "Writes",
                "One write of all listings that are ready together.",
                "s",
                quantiles("groknet_store_write_seconds", ""),
                warn=0.5,
                bad=1,
                alert="GroknetStoreWritesSlow",
            ),
            Panel(
                "Listings being written",
                "High: the store is slow.",
                "short",
                (by_label("groknet_store_in_flight", "name"),),
            ),
        ),
    },
)

BOARDS = (OVERVIEW, TAGGER, INDEX_AND_SEARCH, MODEL, CLIENTS)
EPOCH_CHANGES = (
    'sum by (epoch) (groknet_model_info{job="$job"}) unless sum by (epoch) (groknet_model_info{job="$job"} offset 2m)'
)
"""True for two minutes after a model of a new epoch appears: the annotation of the dashboards."""
