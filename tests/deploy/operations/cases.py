"""The unit tests of the alerts, with the real windows: series on which an alert fires, or on which it does not."""

from __future__ import annotations

from tests.deploy.operations.promtool import Case

JOB = {"job": "groknet"}
SEARCH = {**JOB, "worker": "search", "name": "search"}
OF_SUPERVISOR = {**JOB, "worker": "supervisor", "name": "supervisor", "process": "tagger-2"}
LAG = 'groknet_lag_seconds{job="groknet",name="tagger",topic="listings.uploaded"}'
RECORDS = 'groknet_lag_records{job="groknet",name="tagger",topic="listings.uploaded"}'
STORED = 'groknet_events_total{job="groknet",stage="tagger",outcome="stored"}'
DEAD = 'groknet_events_total{job="groknet",stage="tagger",outcome="dead"}'
READY = 'groknet_ready{job="groknet",worker="tagger",name="tagger"}'
SEARCH_READY = 'groknet_ready{job="groknet",worker="search",name="search"}'
CLOSED = 'groknet_batch_closed_total{job="groknet",name="tagger",reason='
MODEL = {**JOB, "version": "m-1"}
DRIFTING = {**MODEL, "head": "colour", "of": "label"}
SUPERVISED = 'job="groknet",worker="supervisor",name="supervisor",process="tagger-2"'


def fresh(good: str, all_: str) -> dict[str, str]:
    return {
        'groknet_event_age_seconds_bucket{job="groknet",stage="indexed",le="5.0"}': good,
        'groknet_event_age_seconds_count{job="groknet",stage="indexed"}': all_,
    }


def answered(good: str, all_: str, refused: str = "0x500") -> dict[str, str]:
    asked = 'groknet_search_requests_total{job="groknet",route="/v1/search",status='
    return {
        'groknet_search_seconds_bucket{job="groknet",step="total",le="1.0"}': good,
        asked + '"200"}': all_,
        asked + '"422"}': "0+1000x500",  # the client's fault: counts neither way
        asked + '"503"}': refused,
    }


def of_epochs(*epochs: str) -> dict[str, str]:
    return {f'groknet_model_info{{job="groknet",worker="search",name="{e}",epoch="{e}"}}': "1x60" for e in epochs}


def answers(*counts: str, baseline: tuple[float, ...] = (0.5, 0.3, 0.2)) -> dict[str, str]:
    """Series of a head with three bins: counters, and the baseline."""
    of = 'job="groknet",version="m-1",head="colour",of="label",bin='
    made = {f'groknet_predictions_total{{name="tagger",{of}"{i}"}}': count for i, count in enumerate(counts)}
    return made | {f'groknet_baseline_share{{name="tagger",{of}"{i}"}}': f"{b}x900" for i, b in enumerate(baseline)}


def applying(nothing: str, photos: str, baseline: str = "") -> dict[str, str]:
    of = 'job="groknet",name="tagger",version="m-1"'
    made = {
        f'groknet_photos_applying_total{{{of},domain="(none)"}}': nothing,
        f"groknet_photos_total{{{of}}}": photos,
    }
    return made | ({f'groknet_baseline_applying_share{{{of},domain="(none)"}}': baseline} if baseline else {})


def searches(far: str, near: str) -> dict[str, str]:
    of = 'job="groknet",name="search",close='
    return {f'groknet_searches_total{{{of}"no"}}': far, f'groknet_searches_total{{{of}"yes"}}': near}


HALF, TENTH, FIFTIETH = "0+50x500", "0+90x500", "0+98x500"  # of a hundred a minute
GOOD_AGAIN = "0+50x60 3100+100x60"  # half of them for an hour, then all
ALL = "0+100x500"

CASES = [
    Case("GroknetFreshnessBurnFast", fresh(HALF, ALL), 10, JOB, quiet=(1,)),
    Case("GroknetFreshnessBurnFast", fresh(TENTH, ALL), quiet=(30, 120)),
    Case("GroknetFreshnessBurnFast", fresh(GOOD_AGAIN, ALL), 60, JOB, quiet=(70,)),
    Case("GroknetFreshnessBurnSteady", fresh(TENTH, ALL), 20, JOB, quiet=(10,)),
    Case("GroknetFreshnessBurnSteady", fresh(FIFTIETH, ALL), quiet=(30, 120)),
    Case("GroknetFreshnessBurnSlow", fresh(FIFTIETH, ALL), 70, JOB, quiet=(30,)),
    Case("GroknetFreshnessBurnSlow", fresh("0+995x500", "0+1000x500"), quiet=(70, 400)),
    Case("GroknetSearchBurnFast", answered(HALF, ALL), 10, JOB, quiet=(1,)),
    Case("GroknetSearchBurnFast", answered(HALF, HALF, refused=HALF), 10, JOB),
    Case("GroknetSearchBurnFast", answered(ALL, ALL), quiet=(30, 120)),
    Case("GroknetSearchBurnSteady", answered(TENTH, ALL), 20, JOB, quiet=(10,)),
    Case("GroknetSearchBurnSlow", answered(FIFTIETH, ALL), 70, JOB, quiet=(30,)),
    Case("GroknetNoTaggerReady", {READY: "1x5 0x10"}, 9, quiet=(5, 7)),
    Case("GroknetNoTaggerReady", {READY: "0x15", READY.replace('"tagger"}', '"tagger-2"}'): "1x15"}, quiet=(5, 10)),
    Case("GroknetWorkerNotReady", {SEARCH_READY: "1x5 0x20"}, 12, SEARCH, quiet=(5, 9)),
    Case(
        "GroknetWorkerDoesNotAnswer", {SEARCH_READY.replace("groknet_ready", "up"): "1x5 0x20"}, 9, SEARCH, quiet=(5,)
    ),
    Case(
        "GroknetWorkerRestartsOften",
        {f"groknet_worker_restarts_total{{{SUPERVISED}}}": "0x5 1 2 3 4 5 5x40"},
        12,
        OF_SUPERVISOR,
        quiet=(5, 30),
    ),
    Case("GroknetWorkerRestartsOften", {f"groknet_worker_restarts_total{{{SUPERVISED}}}": "0x5 1x30"}, quiet=(6, 12)),
    Case("GroknetWorkerGaveUp", {f"groknet_worker_gave_up{{{SUPERVISED}}}": "0x5 1x10"}, 9, OF_SUPERVISOR, quiet=(5,)),
    Case(
        "GroknetFilesNearLimit",
        {
            'process_open_fds{job="groknet",worker="search",name="search"}': "100x5 900x30",
            'process_max_fds{job="groknet",worker="search",name="search"}': "1000x35",
        },
        20,
        SEARCH,
        quiet=(5, 12),
    ),
    Case("GroknetModelsMixed", of_epochs("a1", "b2"), 20, JOB, quiet=(10,)),
    Case("GroknetModelsMixed", of_epochs("a1"), quiet=(20, 40)),
    Case(
        "GroknetHold",
        {'groknet_hold{job="groknet",name="tagger",service="store"}': "0x3 1x5 0x20"},
        6,
        {**JOB, "service": "store"},
        quiet=(3, 12),
    ),
    Case(
        "GroknetSearchDegraded",
        {'groknet_reachable{job="groknet",worker="search",service="store"}': "1x3 0x5 1x20"},
        6,
        {**JOB, "service": "store"},
        quiet=(3, 12),
    ),
    Case(
        "GroknetStoreWritesSlow",
        {
            'groknet_store_write_seconds_bucket{job="groknet",le="1.0"}': "0+50x40",
            'groknet_store_write_seconds_bucket{job="groknet",le="2.5"}': "0+100x40",
            'groknet_store_write_seconds_bucket{job="groknet",le="+Inf"}': "0+100x40",
        },
        10,
        JOB,
        quiet=(3,),
    ),
    Case(
        "GroknetUndelivered",
        {'groknet_undelivered_events{job="groknet",name="tagger"}': "0x3 2x20"},
        10,
        JOB,
        quiet=(6,),
    ),
    Case(
        "GroknetRebalancesOften",
        {'groknet_rebalances_total{job="groknet",lane="live"}': "0x5 0+2x20"},
        15,
        JOB,
        quiet=(6,),
    ),
    Case("GroknetRebalancesOften", {'groknet_rebalances_total{job="groknet",lane="live"}': "0x5 4x20"}, quiet=(6, 15)),
    Case(
        "GroknetStalled",
        {LAG: "0+60x20", STORED: "100x20"},
        6,
        {**JOB, "topic": "listings.uploaded"},
        quiet=(2,),
    ),
    Case("GroknetStalled", {LAG: "0+60x20", STORED: "0+10x20"}, quiet=(6, 15)),
    Case("GroknetStalled", {LAG: "0x20", STORED: "100x20"}, quiet=(6, 15)),
    Case(
        "GroknetLagKeepsIncreasing",
        {LAG: "0+10x60", RECORDS: "0+500x60"},
        20,
        {**JOB, "topic": "listings.uploaded"},
        quiet=(8,),
    ),
    Case("GroknetLagKeepsIncreasing", {LAG: "300x60", RECORDS: "9000-100x60"}, quiet=(20, 40)),
    Case("GroknetDeadLettersMany", {STORED: "0+90x40", DEAD: "0+10x40"}, 10, JOB, quiet=(3,)),
    Case("GroknetDeadLettersMany", {STORED: "0+98x40", DEAD: "0+2x40"}, quiet=(10, 30)),
    Case(
        "GroknetFetchesFail",
        {STORED: "0+100x40", 'groknet_fetch_errors_total{job="groknet",error="timeout"}': "0+20x40"},
        10,
        JOB,
        quiet=(3,),
    ),
    Case(
        "GroknetEngineFails",
        {'groknet_engine_errors_total{job="groknet",error="RuntimeError"}': "_x5 1x40"},
        8,
        {**JOB, "error": "RuntimeError"},
        quiet=(4, 30),
    ),
    Case(
        "GroknetCommitsBlocked",
        {'groknet_commit_gap_offsets{job="groknet",name="tagger",lane="live"}': "0+1000x20"},
        13,
        {**JOB, "name": "tagger"},
        quiet=(5, 8),
    ),
    Case(
        "GroknetIndexStale",
        {'groknet_stale{job="groknet",worker="indexer",name="indexer"}': "0x3 1x5 0x20"},
        6,
        {**JOB, "name": "indexer"},
        quiet=(3, 12),
    ),
    Case(
        "GroknetIndexRefuses",
        {'groknet_index_refused_total{job="groknet",error="epoch"}': "0x5 1x40"},
        8,
        {**JOB, "error": "epoch"},
        quiet=(4, 30),
    ),
    Case(
        "GroknetSearchFollowsLate",
        {'groknet_follower_behind_seconds{job="groknet",worker="search",name="search",of="labels"}': "1x3 1+60x5 1x20"},
        8,
        {**JOB, "name": "search", "of": "labels"},
        quiet=(3, 12),
    ),
    Case(
        "GroknetSearchFollowsLate",
        {'groknet_follower_behind_seconds{job="groknet",worker="search",name="search",of="occasions"}': "45x30"},
        quiet=(10, 30),
    ),
    Case(
        "GroknetProductsStale",
        {'groknet_stale{job="groknet",worker="products",name="products"}': "0x3 1x5 0x20"},
        6,
        {**JOB, "name": "products"},
        quiet=(3, 12),
    ),
    Case("GroknetProductsStale", {'groknet_stale{job="groknet",worker="indexer",name="indexer"}': "1x20"}, quiet=(9,)),
    Case(
        "GroknetProductsRefuse",
        {'groknet_product_refused_total{job="groknet",error="epoch"}': "0x5 1x40"},
        8,
        {**JOB, "error": "epoch"},
        quiet=(4, 30),
    ),
    Case(
        "GroknetIndexOfOtherEpoch",
        {**of_epochs("b2"), 'groknet_index_info{job="groknet",epoch="a1"}': "1x60"},
        8,
        {**JOB, "epoch": "b2"},
        quiet=(3,),
    ),
    Case(
        "GroknetIndexOfOtherEpoch",
        {**of_epochs("a1"), 'groknet_index_info{job="groknet",epoch="a1"}': "1x60"},
        quiet=(8,),
    ),
    Case("GroknetSearchRefuses", answered(ALL, ALL, refused="0+100x500"), 10, JOB, quiet=(3,)),
    Case("GroknetSearchRefuses", answered(ALL, ALL), quiet=(10,)),
    # a backlog, and batches that close because no photo comes
    Case(
        "GroknetBatchesUnderfilled",
        {LAG: "60x40", CLOSED + '"wait"}': "0+80x40", CLOSED + '"size"}': "0+20x40"},
        15,
        JOB,
        quiet=(5,),
    ),
    Case(
        "GroknetBatchesUnderfilled",
        {LAG: "60x40", CLOSED + '"wait"}': "0+20x40", CLOSED + '"size"}': "0+80x40"},
        quiet=(15, 30),
    ),
    Case(
        "GroknetBatchesUnderfilled",
        {LAG: "0x40", CLOSED + '"wait"}': "0+80x40", CLOSED + '"size"}': "0+20x40"},
        quiet=(15, 30),
    ),
    # shares (.2, .3, .5) against (.5, .3, .2): PSI .3 · ln 2.5 · 2 = .55
    Case("GroknetPredictionsDrift", answers("0+4x900", "0+6x900", "0+10x900"), 100, DRIFTING, quiet=(20,)),
    Case("GroknetPredictionsDrift", answers("0+10x900", "0+6x900", "0+4x900"), quiet=(100, 200)),
    Case("GroknetPredictionsDrift", answers("0+8x900", "0+6x900", "0+6x900"), quiet=(100, 200)),  # PSI .07
    Case("GroknetPredictionsDrift", answers("1x900", "1x900", "1x900"), quiet=(100, 200)),  # nothing was uploaded
    Case("GroknetPredictionsDrift", answers("0+0.2x900", "0+0.3x900", "0+0.5x900"), quiet=(100, 200)),  # 360 photos
    Case("GroknetNothingApplies", applying("0+10x900", "0+20x900", "0.1x900"), 100, MODEL, quiet=(20,)),
    Case("GroknetNothingApplies", applying("0+10x900", "0+20x900"), 100, MODEL, quiet=(20,)),
    Case("GroknetNothingApplies", applying("0+10x900", "0+20x900", "0.4x900"), quiet=(100, 200)),
    Case("GroknetNothingApplies", applying("0+2x900", "0+20x900"), quiet=(100, 200)),
    Case("GroknetNoCloseNeighbour", searches("0+6x900", "0+4x900"), 100, JOB, quiet=(20,)),
    Case("GroknetNoCloseNeighbour", searches("0+2x900", "0+8x900"), quiet=(100, 200)),
    Case("GroknetNoCloseNeighbour", searches("0+0.3x900", "0+0.2x900"), quiet=(100, 200)),  # 180 searches
]
