"""Runs one function over very many items, and goes on when a worker dies.

`bulk_map` has two engines with the same results: `process_map.py` has processes of this machine, `ray_map.py` has Ray
Data. `embed.py` is the embedding of a whole data set. Nothing here is distributed code of ours.
"""

from __future__ import annotations

from training.bulk.engines import Engine, bulk_map

__all__ = ["Engine", "bulk_map"]
