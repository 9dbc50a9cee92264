"""The calls of the store that are not about listings: settings, announcements, blobs and the probe."""

from __future__ import annotations

import math
import random
import time
import uuid

from schemas.errors import Transient
from workers.stores.base import PROBE_S, Setting, check_blob, check_name, check_value, differs
from workers.stores.cassandra._calls import Calls
from workers.stores.cassandra._settings import CassandraSettings
from workers.stores.cassandra._statements import Statements

_PROBE_BUDGET_S = PROBE_S - 0.5  # a margin, because the driver's own timer may be late
_AGAIN_S = 0.05  # the pause between two tries of a lightweight transaction that met another one


class SharedState:
    """The calls of `Store` that are not about listings."""

    _statements: Statements
    _calls: Calls

    def __init__(self, settings: CassandraSettings) -> None:
        self._most_blob = settings.max_listing_bytes

    def probe(self) -> None:
        """See the interface. Each probe has its own key. So it never reads another probe's cell, and with one replica
        it reaches all nodes in turn."""
        self._deadline()
        deadline = time.monotonic() + _PROBE_BUDGET_S
        key, cell = uuid.uuid4().hex, uuid.uuid4().hex
        self._calls.run(self._statements.bind("put_probe", key, cell), deadline, "probe")
        rows = self._calls.run(self._statements.bind("probe", key), deadline, "probe")
        if rows != [(cell,)]:
            raise differs()

    def setting(self, name: str) -> Setting | None:
        """See the interface."""
        check_name(name)
        rows = self._calls.run(self._statements.bind("setting", name), self._deadline(), "setting")
        return Setting(bytes(rows[0][0]), rows[0][1]) if rows else None

    def put_setting(self, name: str, value: bytes, version: int) -> bool:
        """See the interface. A lightweight transaction that timed out, perhaps because of concurrent ones, is tried
        again until the deadline of the call. The writer in the row tells whether an earlier try was applied."""
        check_value(name, value)
        writer = uuid.uuid4().hex
        deadline = self._deadline()
        while True:
            try:
                return self._compare_and_set(name, value, version, writer, deadline)
            except Transient:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_AGAIN_S * random.uniform(0.5, 1.5))

    def announce(self, worker: str, value: bytes, ttl_s: float) -> None:
        """See the interface."""
        check_value(worker, value)
        asked = self._statements.bind("announce", worker, value, max(1, math.ceil(ttl_s)))
        self._calls.run(asked, self._deadline(), "announce")

    def announced(self) -> dict[str, bytes]:
        """See the interface."""
        rows = self._calls.run(self._statements.bind("announced"), self._deadline(), "announced")
        return {worker: bytes(value) for worker, value in rows}

    def withdraw(self, worker: str) -> None:
        """See the interface."""
        check_name(worker)
        self._calls.run(self._statements.bind("withdraw", worker), self._deadline(), "withdraw")

    def keep_blob(self, data: bytes) -> str:
        """See the interface. `max_listing_bytes` limits a blob as it limits a listing."""
        digest = check_blob(data, self._most_blob)
        self._calls.run(self._statements.bind("keep_blob", digest, data), self._deadline(), "keep_blob")
        return digest

    def blob(self, digest: str) -> bytes | None:
        """See the interface."""
        rows = self._calls.run(self._statements.bind("blob", digest), self._deadline(), "blob")
        return bytes(rows[0][0]) if rows else None

    def _compare_and_set(self, name: str, value: bytes, version: int, writer: str, deadline: float) -> bool:
        if version == 0:
            asked = self._statements.bind("make_setting", name, value, writer)
        else:
            asked = self._statements.bind("change_setting", version + 1, value, writer, name, version, writer)
        (row,) = self._calls.run(asked, deadline, "put_setting")
        # The first column says whether it was applied. If not, the present row follows, with `writer` last. If there is
        # no row, nothing follows.
        return bool(row[0]) or (len(row) > 1 and row[-1] == writer)

    def _deadline(self) -> float:
        raise NotImplementedError
