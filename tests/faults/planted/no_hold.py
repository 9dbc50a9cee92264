"""A planted bug: the store's probe always passes, so that a tagger never holds, and an outage of the store sends every
event to the retry topics. The judge must call that a flood.

It needs `Store.probe` alone. A store without one has no hold either, and floods by itself.
"""

from __future__ import annotations

from groknet.cli import main
from schemas.topics import RETRY_DELAYS_S
from tests.faults.ladder import DELAYS_S
from workers.stores.cassandra import CassandraStore

RETRY_DELAYS_S.update(DELAYS_S)
CassandraStore.probe = lambda _: None  # type: ignore[attr-defined,method-assign,unused-ignore]

if __name__ == "__main__":
    main()
