"""The metrics of typed queries, and of the threads of search that follow topics. `workers.watching.metrics` has them as
well, because that module has all."""

from __future__ import annotations

from workers.watching.declared import counter, gauge

TYPED_SEARCHES = counter(
    "groknet_typed_searches_total",
    "typed queries that were answered, by whether any listing was found: yes or no",
    unit="searches",
    high="many `no`: look at `groknet_typed_phrases_total`, and give synonyms for what is not understood",
    by=("search",),
    labels=("found",),
)
TYPED_PHRASES = counter(
    "groknet_typed_phrases_total",
    "phrases of typed queries, by how they were understood: label, corrected (a label after a correction), title, "
    "text (by `search.text_model`), no",
    unit="phrases",
    high="many `no`: the model has no label for what people type; give `search.synonyms`, or train such labels",
    by=("search",),
    labels=("understood",),
)
TYPED_LISTINGS = gauge(
    "groknet_typed_listings",
    "listings that typed queries can find (held), and those for which there was no room (left_out)",
    unit="listings",
    high="`left_out` above 0: raise `search.max_typed_listings`",
    by=("search",),
    labels=("room",),
)
FOLLOWER_BEHIND = gauge(
    "groknet_follower_behind_seconds",
    "time since a thread of search last had everything of its topic: `labels` for typed queries, `occasions` for what "
    "goes with a listing",
    unit="seconds",
    high="above 30 s `/readyz` of search names it under `degraded`, with the reason",
    by=("search",),
    labels=("of",),
)
