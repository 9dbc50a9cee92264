"""The alerts by cause: each names what is wrong and what to do. All series have the labels of the target list: `job`,
`worker` (tagger, indexer, search, supervisor) and `name`."""

from __future__ import annotations

from deploy.operations.alert import MINUTE_S, Alert, Times

_LIVE = 'topic="listings.uploaded"'


def causes(times: Times) -> list[Alert]:
    """The alerts by cause, in the order of the way of an event."""
    return [*_workers(times), *_services(times), *_tagger(times), *_index_and_search(times), *_products(times)]


def _workers(times: Times) -> list[Alert]:
    quarter = times(15 * MINUTE_S)
    return [
        Alert(
            "GroknetNoTaggerReady",
            'absent(groknet_ready{worker="tagger"} == 1)',
            2 * MINUTE_S,
            "page",
            "No tagger is ready, so nothing new is tagged",
            "Every tagger is stopped, starts again and again, waits for a service, or was given up by its supervisor.",
            "Run `groknet doctor` in the home. It names the reason and the remedy for each worker.",
        ),
        Alert(
            "GroknetWorkerNotReady",
            "groknet_ready == 0",
            5 * MINUTE_S,
            "ticket",
            "{{ $labels.name }} is not ready",
            "A worker waits for a service, for the index or for its engine.",
            "Ask `/readyz` of the worker; `waiting_for` names the reason in one sentence.",
        ),
        Alert(
            "GroknetWorkerDoesNotAnswer",
            'up{job="groknet"} == 0',
            2 * MINUTE_S,
            "page",
            "{{ $labels.name }} does not answer Prometheus",
            "The process is gone or hangs, or the network between Prometheus and the worker is broken.",
            "Look at the end of its log in HOME/logs. A hanging worker is killed by its supervisor.",
        ),
        Alert(
            "GroknetWorkerRestartsOften",
            f"increase(groknet_worker_restarts_total[{quarter}]) > 3",
            0,
            "page",
            "{{ $labels.process }} was started again more than three times in 15 minutes",
            "It crashes, mostly because of memory, a broken device, or a photo that ends the process.",
            "The last lines of its log in HOME/logs say why. An event that was in hand at three crashes becomes a dead "
            "letter by itself.",
        ),
        Alert(
            "GroknetWorkerGaveUp",
            "groknet_worker_gave_up == 1",
            1 * MINUTE_S,
            "page",
            "{{ $labels.process }} is not started again by its supervisor",
            "Its configuration is wrong, or most of its events became dead letters.",
            "`groknet doctor` says why. Solve that, then start it with `groknet run tagger`.",
        ),
        Alert(
            "GroknetFilesNearLimit",
            'process_open_fds{job="groknet"} / process_max_fds{job="groknet"} > 0.8',
            10 * MINUTE_S,
            "ticket",
            "{{ $labels.name }} has almost as many files and connections open as it may",
            "A leak of connections, or a limit that is too low.",
            "Raise the limit (`ulimit -n`) and restart the worker. If the number grows again, report it.",
        ),
        Alert(
            "GroknetModelsMixed",
            "count by (job) (count by (job, epoch) (groknet_model_info)) > 1",
            15 * MINUTE_S,
            "ticket",
            "Workers run models of different hash epochs",
            "A change of the epoch has not reached every worker.",
            "`groknet epoch status` names the workers that cannot follow, and why.",
        ),
    ]


def _services(times: Times) -> list[Alert]:
    return [
        Alert(
            "GroknetHold",
            "max by (job, service) (groknet_hold) == 1",
            1 * MINUTE_S,
            "page",
            "Taggers wait for the {{ $labels.service }}, which does not answer",
            "The store or the stream is away or too slow.",
            "Bring that service back. The taggers continue by themselves, and nothing is lost.",
        ),
        Alert(
            "GroknetSearchDegraded",
            'min by (job, service) (groknet_reachable{worker="search"}) == 0',
            1 * MINUTE_S,
            "page",
            "The search service cannot reach the {{ $labels.service }}",
            "Without the store, most requests get 503. Without the stream, the index does not change.",
            "Bring that service back. The search service continues by itself.",
        ),
        Alert(
            "GroknetStoreWritesSlow",
            "histogram_quantile(0.95, sum by (job, le) "
            f"(rate(groknet_store_write_seconds_bucket[{times(5 * MINUTE_S)}]))) > 1",
            5 * MINUTE_S,
            "ticket",
            "5 % of the writes to the store take longer than 1 s",
            "The store lacks disk speed, memory or nodes.",
            "Look at the disks, compactions and garbage collections of the store.",
        ),
        Alert(
            "GroknetUndelivered",
            "sum by (job) (groknet_undelivered_events) > 0",
            5 * MINUTE_S,
            "page",
            "The stream does not take retries or dead letters",
            "The topic refuses the size, or its partitions have no leader.",
            "Look at the log of the broker. The events stay in hand and are sent again, so nothing is lost.",
        ),
        Alert(
            "GroknetRebalancesOften",
            f"sum by (job) (increase(groknet_rebalances_total[{times(15 * MINUTE_S)}])) > 10",
            0,
            "ticket",
            "Partitions move between taggers again and again",
            "A tagger restarts, or takes longer than `max_poll_s` between two polls.",
            "Look for restarts of taggers, then for pauses in their logs.",
        ),
    ]


def _tagger(times: Times) -> list[Alert]:
    ten = times(10 * MINUTE_S)
    events = f'sum by (job) (rate(groknet_events_total{{stage="tagger"}}[{ten}]))'
    bad = f'sum by (job) (rate(groknet_events_total{{stage="tagger",outcome=~"dead|partial"}}[{ten}]))'
    return [
        Alert(
            "GroknetStalled",
            f"job:groknet_lag_seconds:max{{{_LIVE}}} > 30 and on (job) job:groknet_events:rate == 0",
            3 * MINUTE_S,
            "page",
            "Uploads wait, and no tagger finishes anything",
            "A service is away, or every tagger is stuck on one event.",
            "If GroknetHold fires too, see there. Otherwise ask `/v1/in-hand` of a tagger: it names the event, its "
            "stage and what it waits for.",
        ),
        Alert(
            "GroknetLagKeepsIncreasing",
            f"deriv(job:groknet_lag_records:sum{{{_LIVE}}}[{ten}]) > 0 and job:groknet_lag_seconds:max{{{_LIVE}}} > 30",
            10 * MINUTE_S,
            "page",
            "More is uploaded than the taggers can process",
            "Too few taggers, or a stage that has become slower.",
            "Start more taggers, at most one for each partition. The first full queue stands before the bottleneck.",
        ),
        Alert(
            "GroknetBatchesUnderfilled",
            f'sum by (job) (rate(groknet_batch_closed_total{{reason="wait"}}[{ten}]))'
            f" / sum by (job) (rate(groknet_batch_closed_total[{ten}])) > 0.5"
            f" and on (job) job:groknet_lag_seconds:max{{{_LIVE}}} > 30",
            10 * MINUTE_S,
            "ticket",
            "Uploads wait, and yet most batches are not full: the engine waits for photos",
            "Fetching or decoding is slower than the engine.",
            "Raise `tagger.prepare_threads`, or set `tagger.decode_processes` on a machine with many cores. If the "
            "stage `fetch` is slow, look at the photo hosts.",
        ),
        Alert(
            "GroknetDeadLettersMany",
            f"{bad} / {events} > 0.05",
            5 * MINUTE_S,
            "page",
            "More than 5 % of the events lose photos",
            "A sender damages photos, a host list is wrong, or a bundle does not fit.",
            "`groknet dlq list` names the reasons. Repair the cause, then `groknet dlq replay`. Above half of the "
            "events the tagger ends by itself.",
        ),
        Alert(
            "GroknetFetchesFail",
            f"sum by (job) (rate(groknet_fetch_errors_total[{ten}])) / {events} > 0.1",
            5 * MINUTE_S,
            "ticket",
            "More than one photo in ten events cannot be fetched",
            "A photo host is away or slow, or refuses us.",
            "Look at the errors by kind, then at that host. The events are tried again for about ten minutes.",
        ),
        Alert(
            "GroknetEngineFails",
            _any("groknet_engine_errors_total", ten),
            0,
            "ticket",
            "The engine failed on a batch",
            "One photo that it cannot compute, or a device that is failing.",
            "`groknet dlq list` shows letters of stage `engine`. `DeviceLost` means the GPU: look at its driver's log.",
        ),
        Alert(
            "GroknetCommitsBlocked",
            "max by (job, name) (groknet_commit_gap_offsets) > 5000",
            5 * MINUTE_S,
            "ticket",
            "One event blocks the commits of {{ $labels.name }}",
            "An event is tried again and again while later ones are finished. A crash would repeat all of these.",
            "`/v1/in-hand` of the tagger shows the oldest event and why it waits.",
        ),
    ]


def _any(counter: str, window: str) -> str:
    """True if a counter with the label `error` has grown. A series whose first value is above 0 counts as well, which
    `increase` leaves out."""
    new = f"sum by (job, error) ({counter} unless {counter} offset {window}) > 0"
    return f"sum by (job, error) (increase({counter}[{window}])) > 0 or {new}"


def _index_and_search(times: Times) -> list[Alert]:
    ten = times(10 * MINUTE_S)
    asked = f"sum by (job) (rate(groknet_search_requests_total[{ten}]))"
    refused = f'sum by (job) (rate(groknet_search_requests_total{{status="503"}}[{ten}]))'
    return [
        Alert(
            "GroknetIndexStale",
            'max by (job, name) (groknet_stale{worker="indexer"}) == 1',
            1 * MINUTE_S,
            "page",
            "{{ $labels.name }} has not caught up with the hash topic",
            "The stream does not answer the indexer, or more hashes arrive than it can apply.",
            "Look at `degraded` in `/readyz` of the indexer, then at its log.",
        ),
        Alert(
            "GroknetIndexRefuses",
            _any("groknet_index_refused_total", ten),
            0,
            "ticket",
            "The index refuses hash messages ({{ $labels.error }})",
            "`epoch`: another model writes to this topic. Otherwise a sender breaks the schema.",
            "The indexer's log names the topic, the partition and the offset.",
        ),
        Alert(
            "GroknetSearchFollowsLate",
            "max by (job, name, of) (groknet_follower_behind_seconds) > 60",
            2 * MINUTE_S,
            "ticket",
            "{{ $labels.name }} is behind with its {{ $labels.of }}",
            "`labels`: typed queries miss new listings. `occasions`: new carts and views do not count. The stream or "
            "the store does not answer, a large store is being read after a start, or the service lacks CPU time.",
            "`degraded` in `/readyz` of the search service says why, and so does its log.",
        ),
        Alert(
            "GroknetIndexOfOtherEpoch",
            'count by (job, epoch) (groknet_model_info{worker="search"})'
            " unless count by (job, epoch) (groknet_index_info)",
            5 * MINUTE_S,
            "page",
            "The search service has a model of epoch {{ $labels.epoch }}, and no indexer has that epoch",
            "An indexer was stopped or given another bundle.",
            "Start an indexer with the bundle of that epoch; `groknet epoch status` names it.",
        ),
        Alert(
            "GroknetSearchRefuses",
            f"{refused} / {asked} > 0.05",
            5 * MINUTE_S,
            "page",
            "More than 5 % of the requests are answered with 503",
            "More requests at once than `search.max_waiting` or `search.max_requests`, or a service is away.",
            "If GroknetSearchDegraded fires too, see there. Otherwise start another search service.",
        ),
    ]


def _products(times: Times) -> list[Alert]:
    return [
        Alert(
            "GroknetProductsStale",
            'max by (job, name) (groknet_stale{worker="products"}) == 1',
            1 * MINUTE_S,
            "ticket",
            "{{ $labels.name }} has not caught up with the hash topic, so new listings have no product",
            "The stream or the store does not answer, or more listings change than it can group.",
            "Look at `degraded` in `/readyz` of the products worker, then at its log. If `groknet_product_unsettled` "
            "grows, and `groknet_product_region_listings` is large, lower `products.radius_bits` or "
            "`products.most_copies`.",
        ),
        Alert(
            "GroknetProductsRefuse",
            _any("groknet_product_refused_total", times(10 * MINUTE_S)),
            0,
            "ticket",
            "The products worker refuses hash messages ({{ $labels.error }})",
            "`epoch`: another model writes to this topic. Otherwise a sender breaks the schema.",
            "The worker's log names the topic, the partition and the offset.",
        ),
    ]
