"""The loop of the indexer: hash topic → index → snapshot. It also builds the HTTP application.

The topic has all data, and a snapshot has its own offsets. So the loop reads the log by offset, without a consumer
group. No commit can be ahead of a snapshot, a killed indexer can restart at once, and several indexers may read the
same topic. After a crash the topic is read again from the last snapshot.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from starlette.applications import Starlette

from engines.similarity import HashIndex
from schemas.errors import ConfigError, Transient
from schemas.topics import hash_topic, topics_for
from workers.http.serving import Health
from workers.indexer.app import build_app
from workers.indexer.recent import RecentListings
from workers.indexer.settings import IndexerSettings
from workers.indexer.snapshots import Snapshots
from workers.indexer.updates import Updates
from workers.streams import Partition, Stream, StreamAdmin, TopicSpec
from workers.watching import metrics

_log = logging.getLogger(__name__)
_HOUSEKEEPING_RECORDS = 1000  # between two checks of stop, heartbeat and snapshot while a long topic is read
_BACKOFF_S = (0.1, 5.0)
_LINE_EVERY_S = 60.0


class Indexer:
    """An indexer, built by `build_indexer`. `run` blocks until the stop event. `app` may be served before and during
    it."""

    def __init__(self, settings: IndexerSettings, *, stream: Stream, epoch: str, home: Path, health: Health) -> None:
        self._settings = settings
        self._stream = stream
        self._epoch = epoch
        self._topic = hash_topic(epoch)
        self._health = health
        health.stale_after_s = settings.stale_after_s
        health.waiting_for = "the index to be read"
        self._owned = settings.owned()
        self._snapshots = Snapshots(home, epoch, max_age_s=settings.snapshot_max_age_s, limits=settings.limits())
        self._recent = RecentListings(settings.recent)
        self._index: HashIndex = self._snapshots.empty()
        self._updates = Updates(self._recent, epoch=epoch, max_hashes=settings.max_listing_hashes)
        self._offsets: dict[Partition, int] = {}
        self._saved: dict[Partition, int] = {}
        self._saved_at = time.monotonic()
        self._saving: threading.Thread | None = None
        self._live = False
        self._applied = 0
        self._line_due = time.monotonic() + _LINE_EVERY_S
        self.app: Starlette = build_app(
            settings,
            index=lambda: self._index,
            recent=self._recent,
            epoch=epoch,
            health=health,
            partitions=lambda: sorted(partition.number for partition in self._offsets),
        )

    def run(self, stop: threading.Event) -> None:
        """Follow the topic until `stop` is set, then take a last snapshot.

        Raises:
            ConfigError: the topic is set up differently, or lacks a partition of the settings.
            Transient: the stream does not answer at the start.
        """
        metrics.INDEX_INFO.labels(self._epoch).set(1)
        metrics.EVENT_AGE.labels("indexed")  # shown as 0 before the first event
        metrics.EVENTS.labels("index", "applied")
        metrics.INDEX_REFUSED.labels("epoch")
        admin = self._stream.admin()
        try:
            self._ensure_topic(admin)
            self._load(admin)
            self._health.mark_started()
            self._follow(admin, stop)
            self._save(beside=False)
        finally:
            admin.close()

    def _ensure_topic(self, admin: StreamAdmin) -> None:
        for topic in topics_for(self._epoch):
            if topic.name == self._topic:
                compacted = topic.cleanup == "compact"
                admin.ensure_topics([TopicSpec(topic.name, topic.partitions, compacted, topic.retention_ms)])

    def _ends(self, admin: StreamAdmin) -> dict[Partition, int]:
        """The end offsets of the partitions that this indexer holds."""
        ends = admin.end_offsets(self._topic)
        missing = (self._owned or frozenset()) - {partition.number for partition in ends}
        if missing:
            text = f"indexer.partitions: {self._topic} has {len(ends)} partitions, none of them {min(missing)}"
            raise ConfigError(f"{text}; correct the setting")
        return {p: end for p, end in ends.items() if self._owned is None or p.number in self._owned}

    def _load(self, admin: StreamAdmin) -> None:
        self._offsets = dict.fromkeys(self._ends(admin), 0)
        loaded = self._snapshots.load()
        if loaded is None:
            return
        index, offsets = loaded
        if not set(offsets) <= {partition.number for partition in self._offsets}:
            _log.warning(
                "the snapshot has partitions that another indexer holds now: the topic is read from its beginning"
            )
            return
        self._index = index
        for partition in self._offsets:
            self._offsets[partition] = offsets.get(partition.number, 0)
        for entry in reversed(self._snapshots.recent()):
            self._recent.note(entry)
        self._saved = dict(self._offsets)
        self._live = True  # messages since the snapshot are late, and their age says how late

    def _follow(self, admin: StreamAdmin, stop: threading.Event) -> None:
        wait_s, away_since = _BACKOFF_S[0], 0.0
        while not stop.is_set():
            self._health.beat()
            self._say_each_minute()
            try:
                level = self._catch_up(admin, stop)
            except Transient as error:
                self._health.degraded = {"stream": error.message}
                metrics.REACHABLE.labels("stream").set(0)
                if not away_since:
                    away_since = time.monotonic()
                    _log.warning("the hash topic cannot be read; the indexer keeps trying: %s", error.message)
                stop.wait(wait_s)
                wait_s = min(wait_s * 2, _BACKOFF_S[1])
                continue
            if away_since:
                _log.warning("the hash topic can be read again after %.0f s", time.monotonic() - away_since)
            wait_s, away_since = _BACKOFF_S[0], 0.0
            self._health.degraded = {}
            metrics.REACHABLE.labels("stream").set(1)
            if level:
                self._live = True
                self._health.fresh()
                if not self._health.ready:
                    self._health.mark_ready()
            self._measure()
            self._save_if_due()
            stop.wait(self._settings.poll_interval_s)

    def _catch_up(self, admin: StreamAdmin, stop: threading.Event) -> bool:
        """Apply everything up to the current end of the topic. False if `stop` was set before. Raises Transient."""
        ends = self._ends(admin)
        if any(end < self._offsets.get(partition, 0) for partition, end in ends.items()):
            self._begin_anew(ends)
        if all(self._offsets.get(partition, 0) >= end for partition, end in ends.items()):
            return True
        start = (
            admin.end_offsets(self._topic) if self._owned is not None else {}
        )  # nothing is read of partitions that others hold
        start |= {partition: self._offsets.get(partition, 0) for partition in ends}
        for n, record in enumerate(admin.read(self._topic, start), 1):
            if record.partition not in ends:
                continue
            self._updates.apply(self._index, record, live=self._live)
            self._applied += 1
            self._offsets[record.partition] = record.next_offset
            if n % _HOUSEKEEPING_RECORDS == 0:
                self._health.beat()
                self._measure()
                self._save_if_due()
                if stop.is_set():
                    return False
        for partition, end in ends.items():  # compaction may have removed the last records of a partition
            self._offsets[partition] = max(self._offsets.get(partition, 0), end)
        return True

    def _begin_anew(self, ends: dict[Partition, int]) -> None:
        """Start with an empty index. The topic is shorter than what was read, so it is a new topic."""
        _log.warning("%s was replaced by a shorter topic: it is read from its beginning", self._topic)
        self._health.mark_unready("the index to be read again")
        self._live = False
        self._index = self._snapshots.empty()
        self._offsets = dict.fromkeys(ends, 0)
        for entry in self._recent.newest(self._settings.recent):
            self._recent.forget(entry.listing_id)

    def _say_each_minute(self) -> None:
        """Log what was applied in the last minute, if anything was."""
        if time.monotonic() < self._line_due:
            return
        self._line_due = time.monotonic() + _LINE_EVERY_S
        if self._applied:
            stats = self._index.stats()
            text = "last minute: %d messages applied; the index holds %d hashes of %d listings"
            _log.info(text, self._applied, stats.vectors, stats.listings)
            self._applied = 0

    def _measure(self) -> None:
        stats = self._index.stats()
        metrics.INDEX_VECTORS.set(stats.vectors)
        metrics.INDEX_TOMBSTONES.set(stats.tombstones)

    def _save_if_due(self) -> None:
        saving = self._saving is not None and self._saving.is_alive()
        if not saving and time.monotonic() - self._saved_at >= self._settings.snapshot_interval_s:
            self._save(beside=True)

    def _save(self, *, beside: bool) -> None:
        """Take a snapshot. If nothing is new, take one only after a quarter of `snapshot_max_age_s`.

        `beside`: a thread writes it while the topic is followed; else it is written when this returns.
        """
        if self._saving is not None:
            self._saving.join()
        age_s = time.monotonic() - self._saved_at
        if self._offsets == self._saved and age_s < self._settings.snapshot_max_age_s / 4:
            return
        self._saved_at = time.monotonic()
        offsets = {partition.number: offset for partition, offset in self._offsets.items()}
        write = self._snapshots.gathered(self._index, offsets, self._recent.newest(self._settings.recent))
        saved = dict(self._offsets)

        def save() -> None:
            try:
                with metrics.STAGE_SECONDS.labels("snapshot").time():
                    write()
            except OSError as error:
                _log.error(
                    "the snapshot cannot be written (%s): make room on the disk; a restart uses the previous one", error
                )
                return
            self._saved = saved

        if not beside:
            save()
            return
        self._saving = threading.Thread(target=save, name="index-snapshot", daemon=True)
        self._saving.start()


def build_indexer(settings: IndexerSettings, *, stream: Stream, epoch: str, home: Path, health: Health) -> Indexer:
    """Build an indexer of one epoch. Its snapshots are in `home/index`. Nothing is opened before `run`."""
    return Indexer(settings, stream=stream, epoch=epoch, home=Path(home), health=health)
