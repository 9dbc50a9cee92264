"""Fetches the photos of many events at once, in threads that do nothing else.

A host that is slow then delays only the events that name it. Four bounds keep it so:

- few connections to one host, and to all hosts of one site (`host_connections`),
- few photos of one event at a time (`host_connections` as well),
- an event has `event_s` seconds from its first photo on. Then it fails for now, and its host counts as slow,
- with `patient=False`, an event of a slow host fails at once, unless nothing else is being fetched from that host.

The photos that are not decoded yet share a limit of `most_bytes`. Once it is reached, no new photo is started. A photo
that would exceed it is dropped and fetched again later. There is one exception, so that there is always progress: if no
complete event waits to be decoded, the oldest event goes on. So the bytes never exceed `most_bytes` plus the photos of
one event.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.errors import Invalid, Transient
from schemas.events import ImageRef
from workers.intake.addresses import host_of, site_of
from workers.intake.fetch import Intake

_log = logging.getLogger(__name__)
_SLOW_S = 60.0  # how long a host counts as slow after an event of it ran out of time
_NEARLY = 0.2  # an event that gives up with so small a share of its time left has used it up
_SITE_SHARE = 4  # hosts of one site have together so many times the connections of one host
_MOST_SLOW = 10_000  # hosts that are remembered as slow; anybody can name new ones

Done = Callable[["Photos | Transient"], None]


class _NoRoom(Exception):
    """There is no room for more bytes now; the photo is fetched again later."""


class Photos:
    """The fetched photos of an event. Each is taken once, so that its bytes are not kept longer than needed."""

    def __init__(self, found: dict[str, bytes | Invalid], taken: Callable[[int], None]) -> None:
        """`taken` is called with the number of bytes that a photo frees."""
        self._found = found
        self._taken = taken

    def take(self, image_id: str) -> bytes | None:
        """Return the bytes of a photo; None for one that was not fetched here. Raises Invalid for a bad photo."""
        found = self._found.pop(image_id, None)
        if isinstance(found, Invalid):
            raise found
        if found is not None:
            self._taken(len(found))
        return found

    def look(self, image_id: str) -> bytes | None:
        """Return and raise what `take` does, and keep the photo until it is taken or dropped."""
        found = self._found.get(image_id)
        if isinstance(found, Invalid):
            raise found
        return found

    def drop(self) -> None:
        """Drop all photos that were not taken."""
        found, self._found = self._found, {}
        count = sum(len(photo) for photo in found.values() if isinstance(photo, bytes))
        if count:
            self._taken(count)


@dataclass(slots=True, eq=False)
class _Order:
    """The photos of one event, until all of them are here or one failed for now."""

    waiting: list[tuple[ImageRef, str]]
    """The photos whose fetch has not begun, each with its host."""
    done: Done
    left: int
    found: dict[str, bytes | Invalid] = field(default_factory=dict)
    running: Counter[str] = field(default_factory=Counter)
    """Fetches under way, by host."""
    ends: float | None = None
    """When its time is over, as `time.monotonic()`; None before its first fetch."""
    failed: bool = False


class FetchPool:
    """The fetches of one lane. Thread-safe. Its threads are started when they are needed."""

    def __init__(
        self,
        intake: Intake,
        *,
        threads: int,
        host_connections: int,
        event_s: float,
        most_bytes: int,
        patient: bool,
        name: str = "fetch",
    ) -> None:
        """`threads` fetch at the same time. `patient`: wait for slow hosts, as retries do."""
        self.on_fault: Callable[[BaseException], None] | None = None
        """Called with an error that no photo and no host caused."""
        self._intake = intake
        self._most_threads, self._per_host, self._event_s = threads, host_connections, event_s
        self._most_bytes, self._patient, self._name = most_bytes, patient, name
        self._changed = threading.Condition()
        self._orders: dict[_Order, None] = {}
        self._hosts: Counter[str] = Counter()
        self._sites: Counter[str] = Counter()
        self._slow: dict[str, float] = {}
        self._bytes = self._complete_bytes = self._threads = self._idle = 0
        self._closed = False

    def fetch(self, refs: Sequence[ImageRef], done: Done) -> None:
        """Fetch photos in the background. Then call `done` once, in another thread or in this one.

        `done` gets all photos, or a Transient of stage `fetch` if one of them cannot be fetched for now. After that no
        further photo of the event is begun.
        """
        order = _Order([(ref, host_of(ref.url or "")) for ref in refs], done, len(refs))
        with self._changed:
            busy = next((host for _, host in order.waiting if self._is_slow(host) and self._hosts[host]), None)
            if busy is None:
                self._orders[order] = None
                self._employ(len(refs))
        if busy is not None:
            done(_slow_host(busy))

    def waiting(self) -> int:
        """The number of photos whose fetch has not begun."""
        with self._changed:
            return sum(len(order.waiting) for order in self._orders)

    def running(self) -> int:
        """The number of fetches under way."""
        return self._hosts.total()

    def slow_hosts(self) -> int:
        """The number of hosts that count as slow now."""
        with self._changed:
            return sum(until > time.monotonic() for until in self._slow.values())

    def close(self) -> None:
        """End the threads that have nothing to do; the others end with the process. It may be called again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # threads --------------------------------------------------------------------------------------------------

    def _wake(self, count: int) -> int:
        """Let so many idle threads look for work, and return how many there were. The caller holds the lock.

        A thread counts as busy from here on, not from when it runs, so that nobody relies on it twice.
        """
        woken = min(count, self._idle)
        self._idle -= woken
        self._changed.notify(woken)
        return woken

    def _employ(self, count: int) -> None:
        """Wake so many threads, and start those that are missing. The caller holds the lock."""
        for _ in range(min(count - self._wake(count), self._most_threads - self._threads)):
            self._threads += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()

    def _run(self) -> None:
        try:
            while (begun := self._begin()) is not None:
                self._finish(*begun, self._outcome(*begun))
        except BaseException as error:
            _log.exception("a thread that fetches photos failed")
            if self.on_fault is not None:
                self.on_fault(error)

    def _begin(self) -> tuple[_Order, ImageRef, str] | None:
        """Wait for a photo that may be fetched now, and take it. None after `close`."""
        with self._changed:
            while not self._closed:
                for order in self._orders:
                    if self._bytes >= self._most_bytes and not self._first(order):
                        break
                    chosen = self._choose(order)
                    if chosen is not None:
                        return order, *chosen
                self._idle += 1
                self._changed.wait()
            return None

    def _first(self, order: _Order) -> bool:
        """Whether an event is the oldest one, complete events included: only its photos are in the way of others."""
        return not self._complete_bytes and order is next(iter(self._orders), None)

    def _choose(self, order: _Order) -> tuple[ImageRef, str] | None:
        """Take a photo of this event whose host has a free connection."""
        if order.running.total() >= self._per_host:
            return None
        for i, (ref, host) in enumerate(order.waiting):
            if self._hosts[host] < self._per_host and self._sites[site_of(host)] < _SITE_SHARE * self._per_host:
                del order.waiting[i]
                for count, key in ((self._hosts, host), (self._sites, site_of(host)), (order.running, host)):
                    count[key] += 1
                if order.ends is None:
                    order.ends = time.monotonic() + self._event_s
                return ref, host
        return None

    def _outcome(self, order: _Order, ref: ImageRef, _: str) -> bytes | Invalid | Transient | _NoRoom:
        here = 0

        def grown(count: int) -> None:
            nonlocal here
            with self._changed:
                if self._bytes + count - here > self._most_bytes and not self._first(order):
                    raise _NoRoom
                self._bytes += count - here
                here = count

        try:
            return self._intake.fetch(ref, until=order.ends, grown=grown)
        except (Invalid, Transient, _NoRoom) as why:
            return why
        finally:
            with self._changed:
                self._free(here)

    def _finish(self, order: _Order, ref: ImageRef, host: str, outcome: bytes | Invalid | Transient | _NoRoom) -> None:
        ended: list[tuple[_Order, Photos | Transient]] = []
        with self._changed:
            for count, key in ((self._hosts, host), (self._sites, site_of(host)), (order.running, host)):
                count[key] -= 1
                if not count[key]:
                    del count[key]
            if not order.failed:
                if isinstance(outcome, _NoRoom):
                    order.waiting.insert(0, (ref, host))
                elif isinstance(outcome, Transient):
                    ended += self._fail(order, outcome, host)
                else:
                    ended += self._keep(order, ref, outcome)
            ended += self._out_of_time()
            self._wake(self._per_host)  # the next event of a host may begin
        for one, result in ended:
            one.done(result)

    # ends of events; the caller holds the lock ----------------------------------------------------------------

    def _keep(self, order: _Order, ref: ImageRef, outcome: bytes | Invalid) -> list[tuple[_Order, Photos | Transient]]:
        order.found[ref.image_id] = outcome
        order.left -= 1
        if isinstance(outcome, bytes):
            self._bytes += len(outcome)
        if order.left:
            return []
        del self._orders[order]
        self._complete_bytes += sum(len(photo) for photo in order.found.values() if isinstance(photo, bytes))
        return [(order, Photos(order.found, self._taken))]

    def _fail(self, order: _Order, why: Transient, *hosts: str) -> list[tuple[_Order, Photos | Transient]]:
        """End an event for now. If its time is over, its hosts are slow, and events that wait for them end as well.
        `hosts` are those of fetches that have ended just now."""
        del self._orders[order]
        order.failed = True
        self._bytes -= sum(len(photo) for photo in order.found.values() if isinstance(photo, bytes))
        order.found.clear()
        ended: list[tuple[_Order, Photos | Transient]] = [(order, why)]
        if order.ends is not None and time.monotonic() >= order.ends - _NEARLY * self._event_s:
            for host in {*hosts, *order.running, *(host for _, host in order.waiting)}:
                ended += self._note_slow(host)
        return ended

    def _note_slow(self, host: str) -> list[tuple[_Order, Photos | Transient]]:
        if self._patient:
            return []
        now = time.monotonic()
        if not self._is_slow(host):
            text = "the photos of an event from %s took longer than %g s; its events go to the retry topic for %g s"
            _log.warning(text, host, self._event_s, _SLOW_S)
        if len(self._slow) >= _MOST_SLOW:
            self._slow = {name: until for name, until in self._slow.items() if until > now} or {}
        if len(self._slow) < _MOST_SLOW:
            self._slow[host] = now + _SLOW_S
        ended: list[tuple[_Order, Photos | Transient]] = []
        for order in [order for order in self._orders if order.ends is None]:
            if any(name == host for _, name in order.waiting):
                del self._orders[order]
                order.failed = True
                ended.append((order, _slow_host(host)))
        return ended

    def _out_of_time(self) -> list[tuple[_Order, Photos | Transient]]:
        """End the events whose time is over while their photos wait for a connection."""
        now, ended = time.monotonic(), []
        for order in [one for one in self._orders if one.ends is not None and one.ends <= now and not one.running]:
            if order in self._orders:
                text = f"images: not all photos arrived within {self._event_s:g} s; its hosts are slow"
                ended += self._fail(order, Transient("fetch", "event_time", text))
        return ended

    def _is_slow(self, host: str) -> bool:
        return not self._patient and self._slow.get(host, 0.0) > time.monotonic()

    def _taken(self, count: int) -> None:
        with self._changed:
            self._complete_bytes -= count
            self._free(count)

    def _free(self, count: int) -> None:
        full = self._bytes >= self._most_bytes
        self._bytes -= count
        if full:
            self._wake(self._idle)


def _slow_host(host: str) -> Transient:
    text = f"url: {host} is slow at present and is busy with other photos; this event is tried again later"
    return Transient("fetch", "slow_host", text)
