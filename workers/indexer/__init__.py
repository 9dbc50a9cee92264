"""The indexer: reads `listings.hashes.<epoch>` into a `HashIndex` and serves it over loopback HTTP.

`build_indexer` builds an object with the loop (`run`) and the application (`app`). `wire` has the types of requests and
answers, which `workers/search` uses as well. `engines/similarity` stores and searches the codes. The indexer needs
neither photos nor the store.
"""

from workers.indexer.indexer import Indexer, build_indexer
from workers.indexer.settings import IndexerSettings

__all__ = ["Indexer", "IndexerSettings", "build_indexer"]
