"""Announces a running worker in the store, and reads the record of epochs there.

`Watch` reads the record once a second. `Follower` also announces its worker. Each has its own thread, which no error of
the store ends. While the store does not answer, the last reading stays valid and the worker continues.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from groknet.cli.exits import CommandError, Exit
from groknet.home.config import Loaded
from groknet.home.detecting import check_decode_processes
from groknet.home.epochs import Epochs, configured_epochs, find_bundle, read_record, refuse_old_file
from groknet.home.hidden_heads import check_hidden_heads
from groknet.home.old_bundles import remove_old_bundles
from groknet.home.running import Worker, read_running
from schemas.errors import BundleRefused, ConfigError, GroknetError
from schemas.hashes import Epoch
from schemas.manifest import load_manifest
from workers.stores import Store

_log = logging.getLogger(__name__)
LOOK_S = 1.0
"""Seconds between two readings of the record."""
_SAY_S = 5.0  # between two equal announcements
TTL_S = 15.0
"""Seconds after its last announcement when a worker is taken to have ended."""
_CLOSE_S = 3.0  # for the last call to a store, which may not answer


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """One live worker. `bundles`: for every known epoch the reason why the worker cannot run it; empty if it can.
    `follows`: whether it changes over when the record changes. `since`: when it started on its present epoch, in UTC
    seconds. `bundle`: the folder that it runs; empty for a worker of an earlier version."""

    kind: Worker
    name: str
    home: str
    host: str
    pid: int
    url: str
    since: float
    epoch: Epoch
    follows: bool
    bundles: dict[Epoch, str] = {}
    bundle: str = ""

    @property
    def label(self) -> str:
        """The name of the worker in messages."""
        return f"{self.name} of {self.home} on {self.host}"


def live_workers(store: Store) -> list[Presence]:
    """Every announced worker, sorted by home and name. Announcements in an unknown form are left out. Raises
    Transient."""
    found = []
    for value in store.announced().values():
        with suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(value, type=Presence))
    return sorted(found, key=lambda one: (one.host, one.home, one.name))


def first_epochs(loaded: Loaded, store: Store) -> Epochs:
    """The first record: the epoch of this home's configured bundle.

    Raises:
        CommandError: a live worker of another home runs another epoch, and would change over to that of this home.
        ConfigError: the home still has the record of an older version.
        BundleRefused: there is no such bundle.
    """
    refuse_old_file(loaded.home)
    epochs = configured_epochs(loaded)
    others = [one for one in live_workers(store) if one.follows and one.epoch != epochs.active]
    if others:
        named = ", ".join(f"{one.label} (epoch {one.epoch})" for one in others)
        text = f"this home is on epoch {epochs.active} by its engine.bundle, and there is no epoch in force yet that"
        raise CommandError(f"{text} all homes follow; give the same engine.bundle first to {named}", Exit.USAGE)
    return epochs


class Watch:
    """Reads the record of epochs repeatedly in a thread. `close` ends the thread."""

    def __init__(self, open_store: Callable[[], Store], *, owned: bool) -> None:
        """`open_store` is called in the thread until it succeeds. `owned`: the watch closes that store."""
        self._open_store = open_store
        self._owned = owned
        self._store: Store | None = None
        self._fault = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="epoch-watch", daemon=True)
        self.epochs: Epochs | None = None
        """The record as last read. None before the first reading, or while there is no record."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End the thread. It waits at most 3 seconds for a call to the store that is under way."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._guarded(self._round)
            self._ended.wait(LOOK_S)
        if self._store is not None:
            self._guarded(self._leave)

    def _guarded(self, step: Callable[[Store], None]) -> None:
        """Run one step. No error of the store ends the thread or the worker. An error is logged once until it
        changes."""
        fault = ""
        try:
            if self._store is None:
                self._store = self._open_store()
            step(self._store)
        except Exception as error:
            fault = str(error) if isinstance(error, GroknetError) else repr(error)
        if self._ended.is_set():
            return
        if fault and not self._fault:
            _log.warning("the epoch in force cannot be read, so nothing changes: %s", fault)
        elif self._fault and not fault:
            _log.info("the epoch in force can be read again")
        self._fault = fault

    def _round(self, store: Store) -> None:
        record = read_record(store)
        self.epochs = None if record is None else record.epochs

    def _leave(self, store: Store) -> None:
        if self._owned:
            store.close()


class Follower(Watch):
    """Announces one worker, and finds out which bundle it should run."""

    def __init__(
        self,
        loaded: Loaded,
        kind: Worker,
        name: str,
        open_store: Callable[[], Store],
        *,
        owned: bool = False,
        obstacle: Callable[[Epoch], str] = lambda _: "",
    ) -> None:
        """`loaded`: the configuration with the bundle that the worker runs now. `obstacle` returns what keeps the
        worker from running an epoch, apart from the bundle; empty if nothing does."""
        super().__init__(open_store, owned=owned)
        self._loaded = loaded
        self._kind = kind
        self._name = name
        self._obstacle = obstacle
        self._changes = kind != "indexer" and loaded.follows  # an indexer never changes its epoch
        self._stays = False
        self._key = _key(loaded, name)
        self._said: tuple[Presence | None, float] = (None, 0.0)
        self._told = ""
        self._tidied = False
        self.wanted = Path(loaded.config.engine.bundle)
        """The bundle that the worker should run. It stays the present one while the other is not available."""
        self.runs(self.wanted)

    def runs(self, folder: Path) -> None:
        """Note that the worker runs this bundle now."""
        self._present = (folder, load_manifest(folder).epoch, time.time())

    def stay_announced(self) -> None:
        """Keep the announcement at `close`, because the worker starts again at once."""
        self._stays = True

    def _round(self, store: Store) -> None:
        super()._round(store)
        reasons = self._reasons(self.epochs) if self.epochs is not None and self._changes else {}
        self._say(store, reasons)
        if not self._tidied:  # once, because a start is when a new bundle may have been joined
            self._tidied = True
            self._remove_old_bundles(store)

    def _remove_old_bundles(self, store: Store) -> None:
        workers = live_workers(store)
        named = {Path(one.bundle) for one in workers if one.bundle}
        named |= {Path(self._loaded.configured), self._present[0]}
        named |= {Path(one.location) for one in self.epochs.bundles.values()} if self.epochs is not None else set()
        remove_old_bundles(self._loaded.home, named, {one.epoch for one in workers if not one.bundle})

    def _reasons(self, epochs: Epochs) -> dict[Epoch, str]:
        """For every epoch the reason why this worker cannot run it; empty if it can. It also sets `wanted`."""
        folder, present, _ = self._present
        reasons: dict[Epoch, str] = {}
        for epoch in epochs.bundles:
            try:
                found = find_bundle(self._loaded, epochs, epoch)
                check_hidden_heads(self._loaded.config, found, [self._kind])
                if self._kind == "tagger":
                    check_decode_processes(self._loaded.config, found)
                reasons[epoch] = "" if epoch == present else self._obstacle(epoch)
            except (BundleRefused, ConfigError) as why:
                found, reasons[epoch] = folder, str(why)
            if epoch == epochs.active:
                self.wanted = found
                self._tell(epoch, reasons[epoch])
        return reasons

    def _tell(self, epoch: Epoch, why: str) -> None:
        if why and why != self._told:
            _log.warning("epoch %s is in force, but this worker stays on %s: %s", epoch, self._present[1], why)
        self._told = why

    def _say(self, store: Store, reasons: dict[Epoch, str]) -> None:
        _, epoch, since = self._present
        running = read_running(self._loaded.home, self._name)
        presence = Presence(
            kind=self._kind,
            name=self._name,
            home=str(self._loaded.home.root),
            host=socket.gethostname(),
            pid=os.getpid(),
            url=running.url if running else "",
            since=since,
            epoch=epoch,
            follows=self._changes,
            bundles=reasons,
            bundle=str(self._present[0]),
        )
        now = time.monotonic()
        if self._said[0] != presence or now >= self._said[1] + _SAY_S:
            store.announce(self._key, msgspec.json.encode(presence), TTL_S)
            self._said = (presence, now)

    def _leave(self, store: Store) -> None:
        try:
            if not self._stays:
                store.withdraw(self._key)
        finally:
            super()._leave(store)


def _key(loaded: Loaded, name: str) -> str:
    """The key of an announcement. A worker that is started again replaces its own earlier announcement."""
    home = hashlib.sha256(str(loaded.home.root).encode()).hexdigest()[:16]
    return f"{socket.gethostname()[:128]}/{home}/{name}"
