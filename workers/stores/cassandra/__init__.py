"""The Cassandra store: predictions, latest events and thumbnails in Apache Cassandra, for a marketplace.

Why it is right, in one paragraph: a listing's state is a *join* of all writes that ever arrived, and joining does not
care about order, repetition or who writes. Cassandra joins cell by cell: the later timestamp wins; between equal ones
a deletion wins over a value, and otherwise the larger bytes win. So every cell is written `USING TIMESTAMP` its
event's time, and every value that two writes of one microsecond could disagree on begins with what decides between
them. No lock, no lightweight transaction, no read is needed for the outcome to be `ListingEvent.order`'s.

- *What is newest*: the head row (`model_version = ''`) holds `newest` = `live:DIGEST` or `removed:DIGEST`. Later time,
  then removed (r > l), then the larger digest: exactly (event_time, removed, digest).
- *Rows*: a body begins with its `rank`: digest, status, fewer bad photos, which ones, content. At equal event time the
  winning event's rows win; of one event (a replay of dead letters) the better run wins, wholly: all cells of one run
  share its rank. A read serves a row only where its rank is the one that the head names for its model version; what
  a loser left beside it (a photo that only its event had) is never served, and goes with the next event.
- *An update* deletes the whole partition up to its time minus one microsecond, which is every model version's rows,
  event and thumbnails of every older event, whether these have arrived already or come late.
- *A removal* deletes rows, event and thumbnails up to and including its own time, and leaves the head: the marker.
- *Crash between steps*: there are none. Rows, head and thumbnails of one event have the same partition key; a batch of
  one partition is one mutation, in the commit log wholly or not at all on each replica. A write that timed out is on
  some replicas or none; the caller is told Transient, writes it again, and the join is the same.
- *Reads of what is half there*: reads and writes are of a quorum, so that a read after an acknowledged write sees it,
  and one read of one partition without paging sees a mutation wholly. A head whose rows are missing all the same is
  read again, then Transient; half a listing is never served.
- *Replays*: each write looks first and does nothing where the store has something newer or as good. That saves work
  and keeps `stored_at`; were the look stale, the join would still be right.

What needs a clock of ours is not part of the state: `stored_at`, and which model version was "stored last".
Physically, removed data goes when compaction drops it, `gc_grace_seconds`
(10 days by default) after the removal; a row that an unrepaired replica brings back after that is not served either,
since the head stays.
"""

from __future__ import annotations

from workers.stores.cassandra._migrations import Migration, migrate, read_migrations
from workers.stores.cassandra._schema import SCHEMA_VERSION, check_schema
from workers.stores.cassandra._session import open_session
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
