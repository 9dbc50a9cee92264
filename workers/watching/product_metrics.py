"""The metrics of the products worker. `workers.watching.metrics` has them as well, because that module has all."""

from __future__ import annotations

from workers.watching.declared import counter, gauge, histogram

__all__ = ["PRODUCTS", "PRODUCT_CHANGES", "PRODUCT_LISTINGS", "PRODUCT_REFUSED", "PRODUCT_REGION", "PRODUCT_UNSETTLED"]

PRODUCTS = gauge(
    "groknet_products",
    "products that have a listing",
    unit="products",
    high="as many as listings: no photo has a near copy; look at `products.radius_bits` and at the photos",
    by=("products",),
)
PRODUCT_LISTINGS = gauge(
    "groknet_product_listings",
    "listings that belong to a product",
    unit="listings",
    high="far above the number of products: one photo joins too much; look at the largest products",
    by=("products",),
)
PRODUCT_UNSETTLED = gauge(
    "groknet_product_unsettled",
    "listings whose product may change and is not decided yet",
    unit="listings",
    high="for long: the store or the stream is away (`groknet_reachable`), or the worker lacks CPU time",
    by=("products",),
)
PRODUCT_CHANGES = counter(
    "groknet_product_changes_total",
    "changes: `joined`, `moved` and `left` count listings, `merged` and `ended` count ids",
    unit="changes",
    high="many `moved`: listings lie between products; lower `products.radius_bits`",
    by=("products",),
    labels=("change",),
)
PRODUCT_REGION = histogram(
    "groknet_product_region_listings",
    "listings that were grouped anew together",
    unit="listings",
    high="large for single changes: long chains of near copies; lower `products.radius_bits`",
    by=("products",),
    buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10_000),
)
PRODUCT_REFUSED = counter(
    "groknet_product_refused_total",
    "hash messages that the worker could not use",
    unit="messages",
    high="`epoch`: a tagger of another model writes to this topic; else a sender breaks the schema",
    by=("products",),
    labels=("error",),
)
