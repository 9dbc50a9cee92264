"""Bounds how much is under way at once, in all and for one client. Belongs to the thread of the event loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from workers.http.problems import Problem


class Slots:
    """So many units of something, of which one client may hold a part: requests at work, or bytes of uploads."""

    def __init__(self, most: int, most_of_client: int, what: str) -> None:
        """`what`: the words after the number in the message of a refusal."""
        self._most, self._most_of_client, self._what = most, most_of_client, what
        self._taken = 0
        self._by_client: Counter[str] = Counter()

    def take(self, client: str, count: int = 1) -> None:
        """Take some units.

        Raises:
            Problem: 429 if this client has too many, 503 if all clients together have.
        """
        self.check(client, count)
        self._taken += count
        self._by_client[client] += count

    def check(self, client: str, count: int = 1) -> None:
        """Raise Problem as `take` would, and take nothing."""
        if self._taken + count > self._most:
            raise Problem(503, "busy", f"{self._most} {self._what}; ask again in a second", retry_after_s=1)
        if self._by_client[client] + count > self._most_of_client:
            detail = f"{self._most_of_client} {self._what} of one client; wait for an answer before you send more"
            raise Problem(429, "too-many-at-once", detail, retry_after_s=1)

    def give_back(self, client: str, count: int = 1) -> None:
        """Give units back that were taken."""
        self._taken -= count
        self._by_client[client] -= count
        if not self._by_client[client]:
            del self._by_client[client]

    @contextmanager
    def held(self, client: str, count: int = 1) -> Iterator[Held]:
        """Hold `count` units while the block runs, and those that it takes besides. Raises Problem as `take`."""
        held = Held(self, client, min(self._most, self._most_of_client))
        try:
            held.more(count)
            yield held
        finally:
            self.give_back(client, held.count)

    @contextmanager
    def upload(self, client: str) -> Iterator[Upload]:
        """An upload that takes a unit for each byte, until the block ends."""
        upload = Upload(self, client)
        try:
            yield upload
        finally:
            self.give_back(client, upload.count)


class Held:
    """The units of one request. They are never more than one client may hold, so that a request which needs more than
    that runs when the client has nothing else at work."""

    def __init__(self, slots: Slots, client: str, most: int) -> None:
        self._slots, self._client, self._most = slots, client, most
        self.count = 0

    def more(self, count: int) -> None:
        """Take further units. Raises Problem as `Slots.take`."""
        taken = min(count, self._most - self.count)
        if taken > 0:
            self._slots.take(self._client, taken)
            self.count += taken


class Upload:
    """The bytes of one body that are in memory."""

    def __init__(self, slots: Slots, client: str) -> None:
        self._slots, self._client = slots, client
        self.count = 0

    def take(self, count: int) -> None:
        """Count bytes that have arrived. Raises Problem as `Slots.take`."""
        self._slots.take(self._client, count)
        self.count += count
