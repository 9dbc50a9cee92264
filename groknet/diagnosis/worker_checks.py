"""The checks of `groknet doctor` for what runs: stream, store, lag and workers. They change nothing."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from groknet.cli.terminal import duration, local_time
from groknet.diagnosis.check import Check
from groknet.diagnosis.lag import Lag, measure
from groknet.home.config import Loaded, hide_secrets
from groknet.home.paths import Home
from groknet.home.running import SERVICES, Http, Readiness, Running, is_locked, read_gave_up, read_running, readiness
from groknet.home.taggers import running_taggers
from schemas.errors import GroknetError
from schemas.topics import RETRY_DELAYS_S, UPLOADED
from workers.stores import build_store
from workers.streams import build_stream

_LATE_S = 60.0  # for a live event, or for a retry after its due time; usually it takes seconds
_ASSIGNED = re.compile(r'^groknet_assigned_partitions\{topic="([^"]+)"\} (\d+)', re.MULTILINE)

Taggers = Mapping[str, tuple[Running, Readiness | None]]


def worker_checks(loaded: Loaded) -> Iterator[Check]:
    """Yield every check of the stream, the lag, the store and the workers, in order."""
    taggers = {name: (running, readiness(running)) for name, running in running_taggers(loaded.home).items()}
    yield from _stream(loaded, taggers)
    yield _store(loaded)
    yield from _taggers(loaded.home, taggers)
    for name in ("indexer", "search", *(("products",) if loaded.config.products.enabled else ())):
        yield _worker(loaded.home, name)
    yield _page_port(loaded)


def not_made(url: str) -> bool:
    """Whether a URL names an embedded file that does not exist. Opening it would create it."""
    return url.startswith("sqlite:///") and not Path("/" + url.partition(":///")[2].partition("?")[0]).exists()


def _stream(loaded: Loaded, taggers: Taggers) -> Iterator[Check]:
    url = loaded.config.stream.url
    shown = str(hide_secrets("url", url))
    if not_made(url):
        yield Check(check="stream", state="ok", detail=f"{shown}, not made yet")
        return
    began = time.monotonic()
    try:
        with closing(build_stream(url, "doctor").admin()) as admin:
            topics = admin.topics()
            took_ms = 1000 * (time.monotonic() - began)
            yield Check(check="stream", state="ok", detail=f"{shown}, answered within {took_ms:.0f} ms")
            for topic in (UPLOADED, *RETRY_DELAYS_S):
                if topic in topics:
                    now_ms = time.time_ns() // 1_000_000
                    yield lag_check(measure(admin, topic, now_ms), now_ms, taggers, loaded.home)
    except GroknetError as error:
        remedy = "start the service, or correct stream.url"
        yield Check(check="stream", state="failed", detail=f"{shown}: {error}", remedy=remedy)


def lag_check(lag: Lag, now_ms: int, taggers: Taggers, home: Home) -> Check:
    """Check what waits in a topic. It fails if an event has been due for over a minute without an outage as the reason.
    `now_ms` is in UTC."""
    if not lag.waiting or lag.oldest_ms is None:
        return Check(check=lag.topic, state="ok", detail="nothing waiting")
    late_s = 0.0 if lag.oldest_due_ms is None else (now_ms - lag.oldest_due_ms) / 1000
    detail = f"{lag.waiting} waiting, the oldest for {duration((now_ms - lag.oldest_ms) / 1000)}"
    if lag.topic in RETRY_DELAYS_S:
        since = f", the oldest due since {duration(late_s)}" if lag.due else ""
        detail = f"{lag.waiting} waiting, {lag.due} due{since}"
    if late_s <= _LATE_S:
        return Check(check=lag.topic, state="ok", detail=detail)
    if any(says is not None and says.hold is not None for _, says in taggers.values()):
        remedy = "nothing to do: a tagger holds while a service does not answer, and continues by itself"
        return Check(check=lag.topic, state="note", detail=detail, remedy=remedy)
    remedy = f"no tagger runs: groknet run all --home {home.root}"
    if taggers:
        remedy = (
            f"see the logs of the taggers in {home.logs}; if they are busy, start one more:"
            f" groknet run tagger --home {home.root}"
        )
    return Check(check=lag.topic, state="failed", detail=detail, remedy=remedy)


def _store(loaded: Loaded) -> Check:
    url = loaded.config.store.url
    shown = str(hide_secrets("url", url))
    if not_made(url):
        return Check(check="store", state="ok", detail=f"{shown}, not made yet")
    began = time.monotonic()
    try:
        with closing(build_store(url)) as store:
            store.latest(["doctor"])
    except GroknetError as error:
        remedy = "start the service, or correct store.url"
        return Check(check="store", state="failed", detail=f"{shown}: {error}", remedy=remedy)
    took_ms = 1000 * (time.monotonic() - began)
    return Check(check="store", state="ok", detail=f"{shown}, answered within {took_ms:.0f} ms")


def _taggers(home: Home, taggers: Taggers) -> Iterator[Check]:
    """Check the running taggers, and those that a supervisor has given up."""
    gave_up = {name: why for name, why in read_gave_up(home).items() if name not in taggers}
    for name, (running, says) in taggers.items():
        yield _running(home, name, running, says)
    for name, why in gave_up.items():
        remedy = f"solve the problem, then: groknet run {name.partition('-')[0]} --home {home.root}"
        yield Check(check=name, state="failed", detail=f"its supervisor gave it up: {why}", remedy=remedy)
    if not taggers and not gave_up:
        yield _missing(home, "tagger")


def _worker(home: Home, name: str) -> Check:
    running = read_running(home, name) if home.run.exists() and is_locked(home, name) else None
    return _missing(home, name) if running is None else _running(home, name, running, readiness(running))


def _missing(home: Home, name: str) -> Check:
    remedy = f"groknet run all --home {home.root}"
    return Check(check=name, state="note", detail="not running in this home", remedy=remedy)


def _running(home: Home, name: str, running: Running, says: Readiness | None) -> Check:
    """Check a running worker: whether it is ready, and if not, why."""
    place = f"on {running.url}, process {running.pid}"
    remedy = f"see {home.logs / (name + '.log')}"
    if says is None:
        return Check(check=name, state="failed", detail=f"does not answer {place}", remedy=remedy)
    if says.hold is not None:
        since = local_time(says.hold.since, time.time())
        detail = f"holds since {since} ({place}): the {says.hold.service} does not answer: {says.hold.why}"
        remedy = f"repair the {says.hold.service}; the tagger then continues by itself within seconds"
        return Check(check=name, state="failed", detail=detail, remedy=remedy)
    if not says.ready and not says.standby:
        detail = f"not ready {place}: it waits for {says.waiting_for}"
        return Check(check=name, state="failed", detail=detail, remedy=remedy)
    if says.degraded:
        services = [name for name in says.degraded if name in SERVICES]
        away = "; ".join(
            f"the {name} does not answer: {why}" if name in SERVICES else f"{name}: {why}"
            for name, why in says.degraded.items()
        )
        remedy = (
            f"repair the {' and the '.join(services)}; the worker then continues by itself"
            if services
            else "look at its log; the worker then continues by itself"
        )
        state = "stands by" if says.standby else "ready"
        return Check(check=name, state="failed", detail=f"{state}, but degraded {place}: {away}", remedy=remedy)
    if says.standby:
        return Check(check=name, state="ok", detail=f"stands by {place}: it waits for {says.waiting_for}")
    assigned = "".join(f", {count} of {topic}" for topic, count in _assigned(running).items())
    partitions = f"; partitions{assigned}".replace(",", "", 1) if assigned else ""
    return Check(check=name, state="ok", detail=f"ready {place}{partitions}")


def _assigned(running: Running) -> dict[str, int]:
    """The number of partitions that a tagger has, by topic. Empty if it does not say."""
    try:
        _, text = Http(running.url, 2.0).fetch("GET", "/metrics")
    except OSError:
        return {}
    return {topic: int(count) for topic, count in _ASSIGNED.findall(text.decode("utf-8", "replace"))}


def _page_port(loaded: Loaded) -> Check:
    host, port = loaded.config.search.host, loaded.config.search.port
    running = read_running(loaded.home, "search")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if running and running.port == port:
                return Check(check="page port", state="ok", detail=f"{port} is in use by this home's search")
            remedy = "choose another with --port (0: any free one) or search.port"
            return Check(check="page port", state="note", detail=f"{host}:{port}: {error.strerror}", remedy=remedy)
    return Check(check="page port", state="ok", detail=f"{host}:{port} is free")
