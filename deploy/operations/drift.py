"""Drift: the records that compare what the model answers with its baseline, and their alerts.

`engines/recognition/drift.py` explains the population-stability index (PSI) and has the same formula in Python. The
sums are over all taggers, so a restart of one hides nothing.
"""

from __future__ import annotations

from deploy.operations.alert import HOUR_S, MINUTE_S, Alert, Times

WINDOW_S = 6 * HOUR_S
"""Long enough for some hundred photos of a small shop, and short enough to notice a bad import on the same day."""
FLOOR = 0.001
PSI_LIMIT = 0.2
LEAST_PHOTOS = 500
"""With so many photos and a baseline of as many, chance alone gives a PSI of 0.05 over 14 bins."""
NOTHING_MORE = 0.2  # so much above the baseline's share of photos to which nothing applies
NO_CLOSE = 0.5
LEAST_SEARCHES = 200

_BIN = "job, version, head, of, bin"
_HEAD = "job, version, head, of"
COUNTED = "job:groknet_predictions:increase6h"
SHARE = "job:groknet_predictions:share6h"
PSI = "job:groknet_predictions:psi6h"
NOTHING = "job:groknet_nothing_applies:share6h"
NO_CLOSE_SHARE = "job:groknet_no_close_neighbour:share6h"


def drift_records(times: Times) -> list[dict[str, str]]:
    """The recording rules, each after those that it reads. A record is named after the unscaled window."""
    window = times(WINDOW_S)
    live = f"clamp_min({SHARE}, {FLOOR})"
    baseline = f"clamp_min(max by ({_BIN}) (last_over_time(groknet_baseline_share[{window}])), {FLOOR})"
    nothing = f'sum by (job, version) (increase(groknet_photos_applying_total{{domain="(none)"}}[{window}]))'
    far = f'sum by (job) (increase(groknet_searches_total{{close="no"}}[{window}]))'
    return [
        {"record": COUNTED, "expr": f"sum by ({_BIN}) (increase(groknet_predictions_total[{window}]))"},
        {"record": SHARE, "expr": f"{COUNTED} / on ({_HEAD}) group_left () (sum by ({_HEAD}) ({COUNTED}) > 0)"},
        {"record": PSI, "expr": f"sum by ({_HEAD}) (({live} - {baseline}) * ln({live} / {baseline}))"},
        {
            "record": NOTHING,
            "expr": f"{nothing} / (sum by (job, version) (increase(groknet_photos_total[{window}])) > 0)",
        },
        {
            "record": NO_CLOSE_SHARE,
            "expr": f"{far} / (sum by (job) (increase(groknet_searches_total[{window}])) > 0)",
        },
    ]


def drift_alerts(times: Times) -> list[Alert]:
    """The alerts. Each needs enough photos or searches in the window."""
    window = times(WINDOW_S)
    # over the window, because the series of a tagger that does not answer ends at once
    expected = (
        f'max by (job, version) (last_over_time(groknet_baseline_applying_share{{domain="(none)"}}[{window}]))'
        f" or sum by (job, version) (increase(groknet_photos_total[{window}])) * 0"
    )
    return [
        Alert(
            "GroknetPredictionsDrift",
            f"{PSI} > {PSI_LIMIT} and on ({_HEAD}) sum by ({_HEAD}) ({COUNTED}) > {LEAST_PHOTOS}",
            30 * MINUTE_S,
            "ticket",
            "The answers of head {{ $labels.head }} are no longer spread as in the baseline ({{ $labels.of }})",
            "The shop sells other things, photos come from another source, or photos or the engine are damaged. "
            "`label` means that other labels are offered, `score` that the probabilities are others.",
            "`groknet drift report` shows which labels changed. Look at twenty photos of them. If their labels are "
            "right, measure a new baseline of your own photos with `groknet bundle baseline`. If they are wrong, "
            "collect labelled photos and train again: calibration holds only for photos like those it was made from.",
        ),
        Alert(
            "GroknetNothingApplies",
            f"{NOTHING} > on (job, version) ({NOTHING_MORE} + ({expected})) and on (job, version) "
            f"sum by (job, version) (increase(groknet_photos_total[{window}])) > {LEAST_PHOTOS}",
            30 * MINUTE_S,
            "ticket",
            "Far more photos than in the baseline are of a kind that no head is for",
            "The shop sells what this model was not made for, or photos arrive damaged, cropped or empty.",
            "Look at twenty new photos. If they are what you sell, train a model with such photos. Nothing wrong is "
            "offered meanwhile; these listings have fewer predictions.",
        ),
        Alert(
            "GroknetNoCloseNeighbour",
            f"{NO_CLOSE_SHARE} > {NO_CLOSE} and on (job) "
            f"sum by (job) (increase(groknet_searches_total[{window}])) > {LEAST_SEARCHES}",
            30 * MINUTE_S,
            "ticket",
            "More than half of the searches find no listing that is close to their photo",
            "Hashes are missing from the index, people look for what nobody sells, or search photos are of another "
            "kind.",
            "Compare `groknet_index_vectors` with the listings in the store (`groknet epoch status`). If both agree, "
            "look at what people search for.",
        ),
    ]
