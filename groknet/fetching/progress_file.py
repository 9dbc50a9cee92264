"""The addresses of one folder and how far each is, in a file that a later run goes on from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from groknet.fetching.contents import Address
from workers.sqlite import connect, transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS address (
    id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, host TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0, depth INTEGER NOT NULL, why TEXT NOT NULL DEFAULT '',
    product TEXT NOT NULL, category TEXT NOT NULL, title TEXT NOT NULL, file TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS waiting ON address (host, id) WHERE state = 'waiting';
"""


@dataclass(frozen=True, slots=True)
class Task:
    """An address to fetch. `depth` counts the answers that led to it."""

    id: int
    url: str
    tries: int
    depth: int
    about: Address


class ProgressFile:
    """One file. For one thread and one process at a time."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, "NORMAL")
        self._db.executescript(_SCHEMA)
        self.counts = self._counted()
        """The number of addresses by state."""

    def add(self, addresses: Iterable[tuple[Address, str, str]], depth: int, most: int) -> int:
        """Add (address, host, why it is refused or "") of one depth, as long as there are fewer than `most`. Known
        addresses stay as they are. Returns how many were not added because there are too many."""
        count, beyond = self.counts.total(), 0
        added: Counter[str] = Counter()
        with transaction(self._db):
            for one, host, why in addresses:
                if count >= most:
                    beyond += 1
                    continue
                state = "refused" if why else "waiting"
                new = self._db.execute(
                    "INSERT OR IGNORE INTO address (url, host, state, depth, why, product, category, title) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (one.url, host, state, depth, why, one.product, one.category, one.title),
                ).rowcount
                count += new
                added[state] += new
        self.counts += added  # only now: an error takes all of them back
        return beyond

    def hosts(self) -> Iterator[str]:
        """The hosts with addresses that wait."""
        yield from (host for (host,) in self._db.execute("SELECT DISTINCT host FROM address WHERE state = 'waiting'"))

    def next_of(self, host: str) -> Task | None:
        """The first address of a host that waits."""
        row = self._db.execute(
            "SELECT id, url, tries, depth, product, category, title FROM address "
            "WHERE state = 'waiting' AND host = ? ORDER BY id LIMIT 1",
            (host,),
        ).fetchone()
        if row is None:
            return None
        number, url, tries, depth, product, category, title = row
        return Task(number, url, tries, depth, Address(url, product, category, title))

    def end(self, task: Task, state: str, why: str = "", file: str = "") -> None:
        """An address is done, failed or refused."""
        self._db.execute("UPDATE address SET state = ?, why = ?, file = ? WHERE id = ?", (state, why, file, task.id))
        self.counts["waiting"] -= 1
        self.counts[state] += 1

    def end_host(self, host: str, state: str, why: str) -> None:
        """All addresses of a host that wait end in the same way."""
        query = "UPDATE address SET state = ?, why = ? WHERE state = 'waiting' AND host = ?"
        count = self._db.execute(query, (state, why, host)).rowcount
        self.counts["waiting"] -= count
        self.counts[state] += count

    def later(self, task: Task, why: str) -> None:
        """An address failed this time; it waits behind the others of its host."""
        last = self._number("SELECT MAX(id) FROM address") + 1
        with transaction(self._db):
            self._db.execute("UPDATE address SET id = ?, tries = tries + 1, why = ? WHERE id = ?", (last, why, task.id))

    def retry(self) -> int:
        """Let all that failed wait again. Returns how many."""
        count = self._db.execute("UPDATE address SET state = 'waiting', tries = 0 WHERE state = 'failed'").rowcount
        self.counts = self._counted()
        return count

    def _counted(self) -> Counter[str]:
        return Counter(dict(self._db.execute("SELECT state, COUNT(*) FROM address GROUP BY state")))

    def reasons(self) -> list[tuple[str, str, int]]:
        """(state, why, number) of what is not done, the most frequent first."""
        query = (
            "SELECT state, why, COUNT(*) FROM address WHERE why != '' AND state != 'done' GROUP BY 1, 2 ORDER BY 3 DESC"
        )
        return list(self._db.execute(query))

    def photos(self) -> Iterator[tuple[str, Address]]:
        """(file, what is known) of each photo, in the order of addresses. One file may have several rows."""
        query = "SELECT file, url, product, category, title FROM address WHERE file != '' ORDER BY id"
        yield from ((file, Address(*rest)) for file, *rest in self._db.execute(query))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0] or 0)
