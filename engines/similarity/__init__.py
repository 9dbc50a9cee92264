"""Hashes to neighbours: an index of 256-bit codes, kept up to date while it is searched.

`HashIndex` holds the codes of one epoch under (listing, image), applies a listing's newer state or removal, ignores
older ones, answers k-nearest and radius searches from a consistent view without a lock, filtered by category and state,
and writes itself with the stream's offsets to the disk, atomically. It is exact up to `IndexLimits.exact_below` codes,
and reads inverted lists beyond. Which topic the hashes come from, and who asks, is `workers/indexer`'s.
"""

from engines.similarity._files import SnapshotRefused
from engines.similarity.index import HashIndex
from engines.similarity.types import IndexedListing, IndexLimits, IndexStats, Neighbour, Where

__all__ = ["HashIndex", "IndexLimits", "IndexStats", "IndexedListing", "Neighbour", "SnapshotRefused", "Where"]
