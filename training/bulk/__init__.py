"""Runs one function over very many items, on processes of this machine or on a Ray cluster, with the same results.

`engines.py` runs it; `embed.py` is the embedding of a whole data set. Nothing here is distributed code of ours: Ray
Data moves the work, and Python's process pool does on one machine.
"""

from __future__ import annotations

from training.bulk.engines import BULK_ENGINES, BulkEngine, bulk_map

__all__ = ["BULK_ENGINES", "BulkEngine", "bulk_map"]
