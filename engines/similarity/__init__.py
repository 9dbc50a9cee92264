"""Hashes to neighbours: an index of 256-bit codes that is updated while it is searched.

`HashIndex` (in `index`) holds the codes of one epoch by listing and photo. It applies newer states and removals of
listings and ignores older ones. Searches take no lock and see a consistent view; they find the k nearest photos, or all
within a radius, filtered by category and state. A snapshot contains the index and the stream's offsets. The index is
exact up to `IndexLimits.exact_below` codes, and uses inverted lists beyond.

Inside: `_listings` knows where each listing's newest state is, `_view` and `_parts` are what readers see, `_flat` and
`_ivf` hold codes, `_directory` holds ids, `_merge` makes new parts, and `_snapshot` and `_files` write them to disk.
`workers/indexer` reads the topic and serves queries.
"""

from engines.similarity._files import SnapshotRefused
from engines.similarity.index import HashIndex
from engines.similarity.types import HeldCode, IndexedListing, IndexLimits, IndexStats, Neighbour, Where

__all__ = [
    "HashIndex",
    "HeldCode",
    "IndexLimits",
    "IndexStats",
    "IndexedListing",
    "Neighbour",
    "SnapshotRefused",
    "Where",
]
