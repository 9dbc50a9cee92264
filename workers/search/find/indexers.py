"""Asks all indexers together. Each holds a part of the index, and an answer needs every part.

Parts may overlap; a photo that two indexers hold counts once. Only indexers that hold the epoch are asked, so the
settings may name the indexers of two epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import msgspec
import urllib3

from schemas.errors import EpochMismatch, Transient
from schemas.topics import HASHES_PREFIX, TOPICS
from workers.indexer.wire import HeldListing, IndexAnswer, Neighbour, Neighbours, NeighboursRequest, RecentAnswer

_STAGE = "index"
T = TypeVar("T")


_PARTITIONS = next(topic.partitions for topic in TOPICS if topic.name.startswith(HASHES_PREFIX))


@dataclass(frozen=True, slots=True)
class IndexState:
    """`waiting_for` says why no search can be answered; empty if searches are answered. `stale`: the index is behind.
    `stream_away`: why an indexer cannot read the stream now; empty if all can."""

    waiting_for: str
    stale: bool
    stream_away: str = ""


class Indexers:
    """Connections to all indexers. Thread-safe."""

    def __init__(
        self,
        urls: Sequence[str],
        timeout_s: float,
        callers: int,
        epoch: str,
        find: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """`find` says where the indexers are now. `state` asks it, because an indexer that was started again may have
        another port. While it finds fewer than before the addresses stay, because an answer of only a part of them
        would look complete. None: they never change."""
        self._find = find
        self._urls = [url.rstrip("/") for url in urls]
        self._epoch = epoch
        self._epochs: dict[str, str] = {}  # by address, as each one last reported
        self._timeout = urllib3.Timeout(connect=1.0, total=timeout_s)  # loopback or one data centre: 1 s is plenty
        self._pool = urllib3.PoolManager(num_pools=max(1, len(urls)), maxsize=callers, retries=False)
        self._threads = ThreadPoolExecutor(max(1, callers * len(urls)), thread_name_prefix="ask-indexer")

    def neighbours(self, query: NeighboursRequest) -> list[Neighbour]:
        """The k photos nearest to any of the hashes, from all indexers, the nearest first, ties by listing, image and
        box.

        Each box of a photo appears once, with its smallest distance in bits.

        Raises:
            Transient: an indexer does not answer. A partial answer would look complete.
            EpochMismatch: an indexer holds another epoch.
        """
        body = msgspec.json.encode(query)
        nearest: dict[tuple[object, ...], Neighbour] = {}
        for answer in self._ask_all("POST", "/v1/neighbours", body):
            for found in _decode(answer, Neighbours).neighbours:
                for one in found:
                    key = one.listing_id, one.image_id, one.box
                    if key not in nearest or one.distance < nearest[key].distance:
                        nearest[key] = one
        return sorted(nearest.values(), key=_rank)[: query.k]

    def listing(self, listing_id: str) -> HeldListing | None:
        """What the index holds of a listing; None if no indexer holds it. Raises Transient or EpochMismatch."""
        answers = self._ask_all("GET", "/v1/listings/" + quote(listing_id, safe=""), None)
        held = [_decode(answer, HeldListing) for answer in answers if answer.status == 200]
        return max(held, key=lambda one: one.event_time, default=None)

    def recent(self, n: int) -> RecentAnswer:
        """The n listings that became searchable last, the newest first. Raises Transient or EpochMismatch."""
        answers = self._ask_all("GET", f"/v1/recent?n={n}", None)
        entries = [entry for answer in answers for entry in _decode(answer, RecentAnswer).recent]
        newest = {entry.listing_id: entry for entry in sorted(entries, key=lambda e: e.indexed_at)}
        return RecentAnswer(recent=sorted(newest.values(), key=lambda e: -e.indexed_at)[:n])

    def state(self) -> IndexState:
        """Whether a search can be answered now. Never raises."""
        found = self._find() if self._find is not None else []
        if len(found) >= max(1, len(self._urls)):
            self._urls = [url.rstrip("/") for url in found]
        if not self._urls:
            return IndexState("an indexer: search.indexer_urls is empty; give its address", stale=False)
        told, faults = self._look()
        silent = next((why for url, why in faults.items() if self._epochs.get(url) == self._epoch), None)
        missing = _missing(told, self._epoch)
        if silent is None and missing and faults:  # an indexer of unknown epoch may hold what is missing
            silent = next(iter(faults.values()))
        if silent is not None:
            return IndexState(silent.message, stale=True)
        away = next((one.stream_away for one in told if one.stream_away), "")
        return IndexState(missing, any(one.stale for one in told), away)

    def _look(self) -> tuple[list[IndexAnswer], dict[str, Transient]]:
        """Ask every address what it holds. Returns the answers of this epoch, and the errors of those that did not
        answer."""
        told, faults = [], {}
        asked = {url: self._threads.submit(self._ask, "GET", url + "/v1/index", None) for url in self._urls}
        for url, future in asked.items():
            try:
                answer = _decode(_checked(future.result()), IndexAnswer)
            except Transient as why:
                faults[url] = why
                continue
            self._epochs[url] = answer.epoch
            if answer.epoch == self._epoch:
                told.append(answer)
        return told, faults

    def _of_this_epoch(self) -> list[str]:
        """The addresses that hold this epoch. Raises EpochMismatch if none does, Transient if none answers."""
        if self._epoch not in list(self._epochs.values()):
            told, faults = self._look()
            if not told and faults:
                raise next(iter(faults.values()))
        mine = [url for url in self._urls if self._epochs.get(url) == self._epoch]
        if not mine:
            raise EpochMismatch(f"{_missing([], self._epoch)}; give engine and index the same bundle")
        return mine

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._threads.shutdown(cancel_futures=True)
        self._pool.clear()

    def _ask_all(self, method: str, path: str, body: bytes | None) -> list[urllib3.BaseHTTPResponse]:
        if not self._urls:
            raise Transient(_STAGE, "no_indexer", "search.indexer_urls is empty; give the address of an indexer")
        asked = [self._threads.submit(self._ask, method, url + path, body) for url in self._of_this_epoch()]
        return [_checked(future.result()) for future in asked]

    def _ask(self, method: str, url: str, body: bytes | None) -> urllib3.BaseHTTPResponse:
        """Ask one indexer. If the connection breaks, ask again on a new one: an indexer may close an idle connection
        just when a request is sent. All requests only read, so asking twice is harmless."""
        headers = {"content-type": "application/json"}
        try:
            try:
                return self._pool.request(method, url, body=body, headers=headers, timeout=self._timeout)
            except urllib3.exceptions.ProtocolError:
                return self._pool.request(method, url, body=body, headers=headers, timeout=self._timeout)
        except urllib3.exceptions.HTTPError as error:
            text = f"an indexer cannot be reached ({type(error).__name__}); start it, or correct search.indexer_urls"
            raise Transient(_STAGE, "unreachable", text) from None


def _checked(answer: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
    if answer.status == 409:
        raise EpochMismatch("the index is of another epoch than the engine; give both the same bundle")
    if answer.status not in (200, 404):
        text = f"an indexer answered {answer.status}; it is starting or overloaded, ask again"
        raise Transient(_STAGE, f"http_{answer.status}", text)
    return answer


def _missing(told: Sequence[IndexAnswer], epoch: str) -> str:
    """Why the indexers of an epoch cannot answer together; empty if they can."""
    if not told:
        return f"an indexer of epoch {epoch}: search.indexer_urls names none"
    if not all(one.ready for one in told):
        return "the index, which is still being read"
    unheld = set(range(_PARTITIONS)) - {number for one in told for number in one.partitions}
    if unheld:
        numbers = ", ".join(map(str, sorted(unheld)))
        return f"an indexer of partition {numbers}: none of search.indexer_urls has it (indexer.partitions)"
    return ""


def _decode(answer: urllib3.BaseHTTPResponse, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.data, type=kind)
    except msgspec.DecodeError as error:
        text = f"an indexer's answer cannot be read ({error}); are search and indexer of one version?"
        raise Transient(_STAGE, "undecodable", text) from None


def _rank(neighbour: Neighbour) -> tuple[object, ...]:
    return neighbour.distance, neighbour.listing_id, neighbour.image_id, neighbour.box or ()
