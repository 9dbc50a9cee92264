"""The Cassandra store: predictions, latest events and thumbnails in Apache Cassandra, for a marketplace.

Why it is correct: the state of a listing is a *join* of all writes that ever arrived. A join gives the same result in
every order, with every repetition, and from any writer. Cassandra joins cell by cell. The later timestamp wins. Between
equal timestamps, a deletion wins over a value, and otherwise the larger bytes win. So every cell is written
`USING TIMESTAMP` with its event's time. Two writes of the same microsecond may disagree on a value, so each such value
begins with the text that decides between them. The result is the order of `ListingEvent.order`, without a lock, a
lightweight transaction or an earlier read.

- *The newest event*: the head row (`model_version = ''`) holds `newest`, which is `live:DIGEST` or `removed:DIGEST`.
  The later time wins, then a removal (r > l), then the larger digest. That is exactly (event_time, removed, digest).
- *Rows*: a body begins with its `rank`: the key of the event (time and digest), the status, the number of bad photos
  (fewer is better), their ids, and a hash of the content. At equal event time, the rows of the winning event win. Of
  two runs of one event, as after a replay of dead letters, the better run wins as a whole, because all its cells share
  its rank. A read serves a row only if its rank is the one that the head names for its model version. It serves a
  thumbnail only if it names the event of the head. So nothing older, and nothing of a losing run, is ever served, even
  before it is deleted.
- *A removal* deletes rows, event and thumbnails up to and including its own time. The head stays as its marker.
- *Concurrency*: writers need not know of each other, because the join of their writes is the same in every order.
- *A crash between two steps*: head, rows and thumbnails of one event have the same partition key. A batch of one
  partition is one mutation, and each replica has it in its commit log either completely or not at all. The second step
  of an update deletes older data (with a timestamp one microsecond before the event). It begins only when a quorum has
  the first step. The result does not depend on it: older data are not served, and the next event deletes them as well.
- *A write that timed out* is on some replicas or on none. The caller gets Transient and writes it again.
- *Replays*: each write first reads, and does nothing if the store has something newer or equally good. This read must
  not mistake data on a single replica for finished work. So it first reads only heads, many at a time. A head that is
  missing or older needs no more care, because nothing depends on it. If a head names the same event or a newer one, the
  whole partition of the listing is read at a quorum, without paging, as for every read that serves a listing. Blocking
  read repair then brings everything that was read to a quorum before the read returns, not only the head. If rows that
  a head names are missing, the listing is read again, and then the call raises Transient. Half a listing is never
  served.
- *The return value of a write* is what its first read found, joined with the write itself. Anything newer that arrived
  between the read and the write belongs to a concurrent call, which may as well have come just after this one.

- *Inline photos that end* (`store.keep_inline_photos_days`): the cell `event` then has the event without them, and the
  whole event has a row of its own with a time to live, named by the event's key. A read takes the whole event while its
  row is there. The key in the name keeps two events of one microsecond apart. A newer event and a removal delete the
  row with everything else.

Two values depend on our clock, so they are not part of the joined state: `stored_at`, and which model version was
"stored last". Removed data disappear from the disk when compaction drops them, `gc_grace_seconds` (10 days by default)
after the removal. An unrepaired replica may bring a row back after that. It is not served either, because the head
stays.
"""

from __future__ import annotations

from workers.stores.cassandra._migrations import Migration, migrate, read_migrations
from workers.stores.cassandra._schema import SCHEMA_VERSION, check_schema
from workers.stores.cassandra._session import open_session, session_of
from workers.stores.cassandra._settings import CassandraSettings, parse_cassandra_url
from workers.stores.cassandra._store import CassandraStore

__all__ = [
    "SCHEMA_VERSION",
    "CassandraSettings",
    "CassandraStore",
    "Migration",
    "build_cassandra_store",
    "check_schema",
    "migrate",
    "open_session",
    "parse_cassandra_url",
    "read_migrations",
    "session_of",
]


def build_cassandra_store(url: str, inline_photos_s: float | None = None) -> CassandraStore:
    """Connect and check the schema. `inline_photos_s`: see `build_store`.

    Raises:
        ConfigError: the URL, user or password is wrong, the keyspace or a table is missing, or the schema is too old
            or too new for this build.
        Transient: no node answers.
    """
    settings = parse_cassandra_url(url)
    session = open_session(settings)
    try:
        return CassandraStore(session, settings, inline_photos_s)
    except BaseException:
        session.cluster.shutdown()
        raise
