"""Who writes the products of a store: one worker at a time, by a lease in a setting that all its workers share.

The setting has the name of the worker that writes, and a version that counts its renewals. Another worker takes over
when that version has stayed the same for `ttl_s` seconds of its own clock, so clocks of machines are never compared. A
worker that starts again under the same name takes over at once, because a home runs one products worker.

A process that stood still for longer than the lease may have written after another one took over. It notices when it
renews, and then counts the version up. The present writer sees that, and compares everything anew (`term`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from schemas.errors import Transient
from workers.stores import Setting, Store

_log = logging.getLogger(__name__)
SETTING = "products.writer"
TTL_S = 15.0
"""A writer that has not renewed for so long may be replaced."""
_NOBODY = b""


class Lease:
    """The lease of one worker. Only one thread may call it. Every call may raise Transient."""

    def __init__(
        self, store: Store, owner: str, ttl_s: float = TTL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`owner`: the worker's name, which no other live worker of the store has. `clock` gives seconds."""
        self._store, self._owner, self._ttl_s, self._clock = store, owner.encode(), ttl_s, clock
        self._held = False
        self._version = 0
        self._due = clock()
        self._seen = (-1, 0.0)
        self._disturb = False
        self.term = 0
        """Grows whenever another worker may have written products since the last call."""
        self.holder = ""
        """The worker that has the lease, if it is another one."""

    def hold(self) -> bool:
        """Take the lease if it is free, or renew it if that is due. Returns whether this worker has it."""
        if self._disturb:
            self._tell()
        now = self._clock()
        if now < self._due:
            return self._held
        setting = self._store.setting(SETTING) or Setting(_NOBODY, 0)
        if setting.value == self._owner:
            if setting.version != self._version:
                self._held = False  # another worker had it meanwhile, or wrote and said so
            return self._take(setting.version, now)
        if self._held:
            self._held, self._disturb = False, True
            _log.warning("%s writes the products of this store now; this worker waits", setting.value.decode())
            self._tell()
            return False
        if setting.value == _NOBODY or (self._seen[0] == setting.version and now - self._seen[1] >= self._ttl_s):
            return self._take(setting.version, now)
        if self._seen[0] != setting.version:
            self._seen = setting.version, now
        self.holder = setting.value.decode("utf-8", "replace")
        self._due = now + self._ttl_s / 15
        return False

    def release(self) -> None:
        """Give the lease back, so that another worker need not wait for its end."""
        if self._held:
            self._held = False
            with suppress(Transient):
                self._store.put_setting(SETTING, _NOBODY, self._version)

    def _take(self, version: int, now: float) -> bool:
        if not self._store.put_setting(SETTING, self._owner, version):
            return self.hold()  # another worker was faster
        self._version = version + 1
        self._due = now + self._ttl_s / 3
        if not self._held:
            self._held, self.holder = True, ""
            self.term += 1
        return True

    def _tell(self) -> None:
        """Count the version up for the worker that has the lease, because this one may have written after it began."""
        while True:
            setting = self._store.setting(SETTING)
            if setting is None or self._store.put_setting(SETTING, setting.value, setting.version):
                self._disturb = False
                return
