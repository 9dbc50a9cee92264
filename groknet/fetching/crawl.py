"""Fetches all addresses of a folder through the guarded intake, many hosts side by side and each host slowly.

All addresses pass the checks of `[intake]`: schemes, public hosts, sizes, times. Redirects are followed by the intake
and pass them as well; the robots.txt of the first host counts for them.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from engines.files import replacing, write_file
from groknet.fetching.contents import MOST_BYTES, Address, Found, NotUsable, look_at
from groknet.fetching.progress_file import ProgressFile, Task
from groknet.fetching.robots import Rules
from groknet.fetching.schedule import Schedule
from groknet.importing.events import EventMaker, Imported
from groknet.importing.opened import is_text
from groknet.importing.product import Product
from groknet.submitting.photo_events import listing_id
from schemas.errors import Invalid, Transient
from schemas.events import ImageRef, encode_event
from workers.intake import Intake, IntakeSettings
from workers.intake.addresses import check_url

log = logging.getLogger(__name__)

PROGRESS, PHOTOS, TABLE, EVENTS = "fetch.db", "photos", "labels.csv", "events.ndjson"
_MOST_DEPTH = 5  # sitemap of sitemaps, sitemap, page, photo, and one spare
_MOST_SILENT = 5  # requests in a row that a host did not answer; pauses of 2 s become 8, 32, 128 and 512 s between them
_SILENCE = frozenset({"connection_failed", "dns_failure", "timeout"})
_MOST_HOSTS = 10_000  # whose rules are remembered


class CrawlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much is fetched, and how fast.

    Attributes:
        pause_s: between two requests of one host, unless its robots.txt asks for more.
        hosts: that are asked side by side.
        tries: of an address whose failure may pass.
        most: addresses of a folder, with those that sitemaps and pages lead to.
        photos: of each product of a page; 0 fetches none.
    """

    pause_s: float = 2.0
    hosts: int = 8
    tries: int = 3
    most: int = 1_000_000
    photos: int = 5


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one request gave: `data`, or `why` it failed, and whether that may pass. `silent`: the host gave no answer,
    so other addresses of it would fare the same."""

    data: bytes | None
    why: str = ""
    passing: bool = False
    gone: bool = False
    silent: bool = False


class Crawl:
    """The fetching of one folder. `stop` may be called from a signal handler or another thread."""

    def __init__(
        self,
        folder: Path,
        intake: IntakeSettings,
        settings: CrawlSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`clock` and `sleep`: the time, in seconds, and how to wait."""
        self._folder, self._settings = folder, settings
        self._clock, self._sleep = clock, sleep
        self._checks = msgspec.structs.replace(intake, attempts=1, max_bytes=MOST_BYTES)
        self._intake = Intake(self._checks)
        (folder / PHOTOS).mkdir(parents=True, exist_ok=True)
        self._progress = ProgressFile(folder / PROGRESS)
        self._schedule = Schedule(settings.pause_s)
        self._rules: dict[str, Rules] = {}
        self._no_rules: dict[str, int] = {}  # host → how often in a row its robots.txt could not be had
        self._silent: dict[str, int] = {}  # host → how many requests in a row it did not answer
        self._events = (folder / EVENTS).open("ab")
        self.beyond = 0
        """Addresses that were not added, because there are `settings.most`."""

    def add(self, addresses: Iterable[Address], depth: int = 0) -> None:
        """Add addresses to fetch. Known ones stay as they are."""
        self.beyond += self._progress.add(map(self._checked, addresses), depth, self._settings.most)

    def retry(self) -> int:
        """Let all that failed be tried again. Returns how many."""
        return self._progress.retry()

    def run(self) -> Iterator[dict[str, int]]:
        """Fetch until nothing waits; yields the number of addresses by state after each answer.

        An interruption loses no answer that was yielded. What was under way is fetched again by the next run.
        """
        for host in self._progress.hosts():
            self._schedule.add(host)
        under_way: dict[Future[_Answer], tuple[str, Task, bool]] = {}
        with ThreadPoolExecutor(self._settings.hosts, thread_name_prefix="groknet-crawl") as pool:
            try:
                while True:
                    self._begin(pool, under_way)
                    if under_way:
                        full = len(under_way) >= self._settings.hosts
                        patience = None if full else self._patience()
                        ended, _ = wait(under_way, timeout=patience, return_when=FIRST_COMPLETED)
                        for future in ended:
                            self._end(*under_way.pop(future), future.result())
                            yield self.counts()
                    elif (patience := self._patience()) is not None:
                        self._sleep(patience)
                    else:
                        return
            finally:
                pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Write the table of photos, and close the files."""
        self._write_table()
        self._events.close()
        self._intake.close()
        self._progress.close()

    def reasons(self) -> list[tuple[str, str, int]]:
        """(state, why, number) of what is not done."""
        return self._progress.reasons()

    def counts(self) -> dict[str, int]:
        """The number of addresses by state."""
        return dict(self._progress.counts)

    def _checked(self, one: Address) -> tuple[Address, str, str]:
        if not is_text(one.url):
            plain = one.url.encode("utf-8", "backslashreplace").decode()
            return replace(one, url=plain), "", "not UTF-8, or half of a character"
        try:
            target = check_url(one.url, self._checks)
        except Invalid as error:
            return one, "", error.message
        return one, f"{target.scheme}://{target.authority}", ""

    def _patience(self) -> float | None:
        """Seconds until the next host may be asked; None if none waits."""
        at = self._schedule.next_at()
        return None if at is None else max(0.0, at - self._clock())

    def _begin(self, pool: ThreadPoolExecutor, under_way: dict[Future[_Answer], tuple[str, Task, bool]]) -> None:
        """Ask the hosts whose time has come, each for its next address, or first for its rules."""
        while len(under_way) < self._settings.hosts and (host := self._schedule.take(self._clock())):
            rules, task = self._rules.get(host), self._progress.next_of(host)
            while task is not None and rules is not None and not rules.allows(task.url):
                self._progress.end(task, "refused", "robots.txt does not allow it")
                task = self._progress.next_of(host)
            if task is None:
                self._schedule.drop(host)
                continue
            url = task.url if rules is not None else f"{host}/robots.txt"
            under_way[pool.submit(self._ask, url)] = host, task, rules is None

    def _ask(self, url: str) -> _Answer:
        try:
            return _Answer(self._intake.fetch(ImageRef(image_id="1", url=url)))
        except Transient as error:
            return _Answer(None, _short(error.message), passing=True, silent=error.error in _SILENCE)
        except Invalid as error:
            gone = error.error.startswith("http_4") or error.error == "empty"
            return _Answer(None, _short(error.message), gone=gone)
        except Exception as error:
            log.exception("%s cannot be fetched", url)
            return _Answer(None, _unexpected(error))

    def _end(self, host: str, task: Task, of_rules: bool, answer: _Answer) -> None:
        if of_rules and (answer.data is not None or answer.gone):
            while len(self._rules) >= _MOST_HOSTS:
                self._rules.pop(next(iter(self._rules)))
            self._rules[host] = Rules(answer.data or b"")
            self._no_rules.pop(host, None)
        elif of_rules:
            self._no_rules[host] = self._no_rules.get(host, 0) + 1
            if self._no_rules[host] >= self._settings.tries:  # nothing of the host may be fetched without it
                self._progress.end_host(host, "failed", f"robots.txt: {answer.why}")
                self._schedule.drop(host)
                return
        elif answer.data is None:
            self._failed(task, answer.why, answer.passing)
        else:
            self._take(task, answer.data)
        if self._is_dead(host, answer):
            self._progress.end_host(host, "failed", f"the host does not answer: {answer.why}")
            self._schedule.drop(host)
            return
        rules = self._rules.get(host)
        pause_s = rules.delay_s if rules else 0.0
        self._schedule.release(host, self._clock(), failed=answer.passing, pause_s=pause_s)

    def _is_dead(self, host: str, answer: _Answer) -> bool:
        """Count the requests in a row that a host did not answer. True if there are too many."""
        if not answer.silent:
            self._silent.pop(host, None)
            return False
        self._silent[host] = self._silent.get(host, 0) + 1
        return self._silent[host] >= _MOST_SILENT

    def _failed(self, task: Task, why: str, passing: bool) -> None:
        if passing and task.tries + 1 < self._settings.tries:
            self._progress.later(task, why)
        else:
            self._progress.end(task, "failed" if passing else "refused", why)

    def _take(self, task: Task, data: bytes) -> None:
        """Use an answer. One that nobody thought of is refused, so that it does not end each later run as well."""
        try:
            self._use(task, data)
        except (OSError, sqlite3.Error, Transient):  # of the folder, such as a full disk: no answer is to blame
            raise
        except Exception as error:
            log.exception("%s cannot be used", task.url)
            self._progress.end(task, "refused", _unexpected(error))

    def _use(self, task: Task, data: bytes) -> None:
        """Save a photo, or add what a page or a sitemap leads to."""
        try:
            found = look_at(data, task.url)
        except NotUsable as why:
            self._progress.end(task, "refused", str(why))
            return
        if found.kind == "photo":
            self._progress.end(task, "done", file=self._save(data, found.suffix))
            return
        if task.depth < _MOST_DEPTH:
            self._lead_on(task, found)
        for product in found.products:
            self._write_event(product, task.url)
        self._progress.end(task, "done")

    def _lead_on(self, task: Task, found: Found) -> None:
        site = urlsplit(task.url).hostname or ""
        photos = (
            Address(photo, listing_id(f"{site}/{one.id}"), one.category or "", one.title or "")
            for one in found.products
            for photo in one.photos[: self._settings.photos]
        )
        more = [*found.addresses, *photos]
        self.add(more, task.depth + 1)
        for host in {host for _, host, why in map(self._checked, more) if not why}:
            self._schedule.add(host)

    def _save(self, data: bytes, suffix: str) -> str:
        digest = hashlib.sha256(data).hexdigest()[:32]
        place = Path(PHOTOS, digest[:2], f"{digest}{suffix}")
        (self._folder / place).parent.mkdir(exist_ok=True)
        write_file(self._folder / place, data)
        return place.as_posix()

    def _write_event(self, product: Product, url: str) -> None:
        prefix = f"{urlsplit(url).hostname or ''}/"
        made = EventMaker(prefix=prefix, event_time=time.time_ns() // 1000, intake=self._checks).make(product)
        if isinstance(made, Imported):
            self._events.write(encode_event(made.event) + b"\n")
            self._events.flush()

    def _write_table(self) -> None:
        """The photos with what is known about each; a file of two addresses keeps the first that names a product."""
        rows: dict[str, Address] = {}
        for file, about in self._progress.photos():
            if file not in rows or (about.product and not rows[file].product):
                rows[file] = about
        with replacing(self._folder / TABLE) as part, part.open("w", newline="", encoding="utf-8") as table:
            writer = csv.writer(table)
            writer.writerow(("path", "product", "category", "title", "address"))
            for file, about in sorted(rows.items()):
                writer.writerow((file, about.product, about.category, about.title, about.url))


def _unexpected(error: Exception) -> str:
    return f"cannot be used: {type(error).__name__}; please report this address"


def _short(message: str) -> str:
    """The reason without the address, so that equal reasons are counted together."""
    return message.partition(": ")[2] or message
