"""Suggests a price from the prices of other listings: one product's own, or those of products that look like it.

`money` reads and writes exact amounts, `interval` has the statistics, and `suggest` decides whose prices count. Nothing
here asks a service: `workers/search` gathers the listings.
"""
