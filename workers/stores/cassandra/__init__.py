"""The Cassandra store: predictions, latest events and thumbnails in Apache Cassandra, for a marketplace.

Why it is right, in one paragraph: a listing's state is a *join* of all writes that ever arrived, and joining does not
care about order, repetition or who writes. Cassandra joins cell by cell: the later timestamp wins; between equal ones
a deletion wins over a value, and otherwise the larger bytes win. So every cell is written `USING TIMESTAMP` its
event's time, and every value that two writes of one microsecond could disagree on begins with what decides between
them. No lock, no lightweight transaction and no earlier read is needed for the outcome to be `ListingEvent.order`'s.

- *What is newest*: the head row (`model_version = ''`) holds `newest` = `live:DIGEST` or `removed:DIGEST`. Later time,
  then removed (r > l), then the larger digest: exactly (event_time, removed, digest).
- *Rows*: a body begins with its `rank`: key of the event (time, digest), status, fewer bad photos, which ones,
  content. At equal event time the winning event's rows win; of one event (a replay of dead letters) the better run
  wins, wholly, since all cells of one run share its rank. A read serves a row only where its rank is the one that the
  head names for its model version, and a thumbnail only where it names the head's event: nothing older, and nothing
  of a loser, is ever served, whether it has been cleared away already or not.
- *A removal* deletes rows, event and thumbnails up to and including its own time, and leaves the head: the marker.
- *Concurrency*: writers do not see each other and need not: the join of their writes is the same in every order.
- *Crash between steps*: head, rows and thumbnails of one event have the same partition key; a batch of one partition
  is one mutation, in the commit log wholly or not at all on each replica. The second step of an update, clearing what
  is older (timestamp: one microsecond before the event), comes only when a quorum has the first, and is no part of
  the outcome: what it would have cleared is not served, and goes with the listing's next event.
- *A write that timed out* is on some replicas or none. The caller is told Transient and writes it again.
- *Replays*: each write looks first and does nothing where the store has something newer or as good. The look must not
  mistake what only one replica has for done. So it reads heads alone, many at a time, only to learn that nothing is
  there or something older, on which nothing is built; where a head names the same event or a newer one, the listing's
  whole partition is read, unpaged, at a quorum, as every read that serves a listing does: blocking read repair then
  brings all that was seen, not only a head, to a quorum before the read returns. A head whose rows are missing all
  the same is read again, then Transient; half a listing is never served.
- *What a write returns* is what its look found, joined with itself. Whatever newer came in between look and join is of
  a call under way at the same time, and may as well have come right after this one.

What needs a clock of ours is not part of the state: `stored_at`, and which model version was "stored last".
Physically, removed data goes when compaction drops it, `gc_grace_seconds` (10 days by default) after the removal; a
row that an unrepaired replica brings back after that is not served either, since the head stays.
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


def build_cassandra_store(url: str) -> CassandraStore:
    """Connect and check the schema.

    Raises:
        ConfigError: the URL, user or password is wrong; the keyspace or a table is missing; the schema is too old or
            too new for this build.
        Transient: no node answers.
    """
    settings = parse_cassandra_url(url)
    session = open_session(settings)
    try:
        return CassandraStore(session, settings)
    except BaseException:
        session.cluster.shutdown()
        raise
