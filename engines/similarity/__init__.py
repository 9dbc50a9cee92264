"""Hashes to neighbours: an exact index of 256-bit codes, kept up to date while it is searched.

`HashIndex` holds the codes of one epoch under (listing, image), applies a listing's newer state or removal, ignores
older ones, answers k-nearest searches from a consistent view without a lock, and writes itself with the stream's
offsets into one file, atomically. Which topic the hashes come from, and who asks, is `workers/indexer`'s.
"""

from engines.similarity._snapshot import SnapshotRefused
from engines.similarity.index import HashIndex
from engines.similarity.types import IndexedListing, IndexStats, Neighbour

__all__ = ["HashIndex", "IndexStats", "IndexedListing", "Neighbour", "SnapshotRefused"]
