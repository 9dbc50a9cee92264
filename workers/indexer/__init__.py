"""The indexer: reads `listings.hashes.<epoch>` into a `HashIndex` and answers for it over loopback HTTP.

`build_indexer` gives the loop (`run`) and the application (`app`); `wire` has the types of the answers, which
`workers/search` asks for. How codes are kept and searched is `engines/similarity`'s; what a listing shows is the
store's; photos are never seen here.
"""

from workers.indexer.indexer import Indexer, build_indexer
from workers.indexer.settings import IndexerSettings

__all__ = ["Indexer", "IndexerSettings", "build_indexer"]
