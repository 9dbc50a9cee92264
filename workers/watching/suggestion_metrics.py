"""The metrics of price suggestions and of what goes with a listing. `workers/watching/metrics.py` has all others."""

from __future__ import annotations

from workers.watching.declared import counter, gauge

PRICES = counter(
    "groknet_price_suggestions_total",
    "price suggestions that were asked for, by what they were made of: copies, neighbours, or none",
    unit="suggestions",
    high="`none`: few sellers of a product have a price in one currency; see `search.price_support`",
    by=("search",),
    labels=("source",),
)
GOES_WITH = counter(
    "groknet_goes_with_total",
    "listings that were answered as going with another, by what said so: counts, neighbours, or categories; `none` "
    "counts answers without any",
    unit="listings",
    high="few `counts`: send more occasions to `listings.together`; many `none`: none are sent at all",
    by=("search",),
    labels=("source",),
)
OCCASIONS = gauge(
    "groknet_occasions",
    "occasions (carts, views, scenes) that are counted",
    unit="occasions",
    high="at `search.max_occasions` the oldest ones leave before their 90 days; raise it if there is memory",
    by=("search",),
)
OCCASIONS_REFUSED = counter(
    "groknet_occasions_refused_total",
    "messages of `listings.together` that could not be used",
    unit="messages",
    high="the log of search names field and remedy; correct who sends them",
    by=("search",),
    labels=("error",),
)
