"""Runs one function over very many items on processes of this machine, and goes on when a worker dies.

`process_map.py` runs it; `embed.py` is the embedding of a whole data set.
"""

from __future__ import annotations

from training.bulk.process_map import bulk_map

__all__ = ["bulk_map"]
