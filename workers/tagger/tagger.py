"""Runs one tagger, its lanes and its pipeline, from start to drain."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from schemas.errors import BundleRefused, ConfigError, DeviceLost, TooManyDeadLetters
from schemas.topics import RETRY_DELAYS_S, UPLOADED
from workers.http.serving import Health
from workers.tagger.completion.journal import Journal
from workers.tagger.lane import Lane, Source
from workers.tagger.pipeline import Pipeline
from workers.tagger.settings import TaggerSettings
from workers.tagger.watch import Probe, Watch

GROUP, RETRY_GROUP = "tagger", "tagger-retry"
LIVE, RETRY = "live", "retry"
_RETRY_POLLS = 5  # a retry waits 30 s at least, so that half a second more does not count
_LOOK_S = 0.1
_JOIN_S = 10.0  # for the other lane to leave its group after a fault
_STUCK_S = 60.0  # a lane whose loop has not run for so long stops the heartbeat
_NOBODYS_FAULT = (ConfigError, BundleRefused, DeviceLost, TooManyDeadLetters)
_TRIPPED = (
    "so the fault is ours: look at `groknet dlq list`, fix the cause, start again and run `groknet dlq replay`; the "
    "limit is tagger.dead_letter_share"
)


def sources(settings: TaggerSettings) -> tuple[Source, Source]:
    """What a tagger reads: live listings and retries. Each has its own group and budget, so that live partitions are
    shared evenly among taggers, and a waiting retry does not delay a live listing."""
    live = Source(LIVE, GROUP, (UPLOADED,), settings.max_in_flight_events)
    retry = Source(
        RETRY,
        RETRY_GROUP,
        tuple(RETRY_DELAYS_S),
        settings.max_in_flight_retries,
        inherit=GROUP,
        polls_longer=_RETRY_POLLS,
    )
    return live, retry


class Tagger:
    """A tagger, built by `build_tagger`. `run` returns after a drain, or raises the error that must end the process."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        pipeline: Pipeline,
        journal: Journal,
        health: Health,
        watch: Watch,
        probe: Probe,
    ) -> None:
        """The first lane runs in the thread that calls `run`."""
        self._lanes, self._pipeline, self._journal, self._health = lanes, pipeline, journal, health
        self._watch, self._probe = watch, probe

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. Then drain: finish what is in hand, commit, and leave the groups.

        Raises:
            TooManyDeadLetters: most of the last events became dead letters by a fault of ours; the tagger has drained.
            Exception: a fault that must end the process, such as BundleRefused, ConfigError or DeviceLost.
        """
        self._pipeline.start()
        ending = threading.Event()
        others = [threading.Thread(target=self._beside, args=(lane, ending), daemon=True) for lane in self._lanes[1:]]
        watcher = threading.Thread(target=self._end_when, args=(stop, ending), daemon=True)
        try:
            self._health.waiting_for = "its consumer groups, which it joins"
            self._health.mark_started()
            for thread in (*others, watcher):
                thread.start()
            self._watch.start()
            self._lanes[0].run(ending)
            for thread in others:
                thread.join()
            if self._pipeline.fault is not None:
                raise self._pipeline.fault
            self._journal.hand_back()
            if self._pipeline.breaker.tripped:
                raise TooManyDeadLetters(f"{self._pipeline.breaker.reason}, {_TRIPPED}")
        except _NOBODYS_FAULT:
            self._journal.hand_back()  # no event caused this, so it must not count as a crash of any event
            raise
        finally:
            ending.set()
            for thread in others:
                if thread.ident is not None:
                    thread.join(_JOIN_S)
            self._watch.stop()
            self._pipeline.stop()
            self._probe.close()
            self._journal.close()

    def _beside(self, lane: Lane, ending: threading.Event) -> None:
        try:
            lane.run(ending)
        except BaseException as error:
            self._pipeline.fail(error)

    def _end_when(self, stop: threading.Event, ending: threading.Event) -> None:
        """Tell the lanes when to drain, say when every lane has joined its group, and pass the heartbeat on while the
        loop of every lane runs."""
        while not ending.is_set():
            if not self._health.ready and all(lane.joined for lane in self._lanes):
                self._health.mark_ready()
            if stop.wait(_LOOK_S) or self._pipeline.breaker.tripped:
                self._health.mark_unready("draining")
                ending.set()
            if time.monotonic() - min(lane.beat for lane in self._lanes) < _STUCK_S:
                self._health.beat()
        while not self._journal.closed:  # a drain may take as long as its budget
            if time.monotonic() - min(lane.beat for lane in self._lanes) < _STUCK_S:
                self._health.beat()
            time.sleep(_LOOK_S)
