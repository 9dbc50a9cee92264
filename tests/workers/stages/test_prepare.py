"""A tagger whose photos are decoded in other processes: few slots, killed processes, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from engines.pixels import DecodeProcesses
from schemas.manifest import Preprocess
from schemas.predictions import StoredListing
from tests.workers.tagger.rig import PATIENCE_S, Rig, event, jpeg
from workers.intake import Intake, IntakeSettings
from workers.stages.job import Job
from workers.stages.prepare import PrepareInProcesses
from workers.streams.base import Partition, Record

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


def children() -> list[int]:
    """The processes of this one that decode, and have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if (
                int(parent) == os.getpid()
                and state != "Z"
                and b"decode_process" in (stat.parent / "cmdline").read_bytes()
            ):
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


def job(name: str, photos: list[bytes]) -> Job:
    return Job(Record(Partition("t", 0), 0, 0, b"k", b"v"), 1, lambda: None, event(name, photos))


def test_an_event_of_twenty_photos_goes_through_three_slots() -> None:
    processes = DecodeProcesses(1, Preprocess(width=32, height=32), thumbnail_side=32, slots=3)
    stage = PrepareInProcesses(Intake(IntakeSettings()), processes, most=16, wait_s=60)
    whole, bad = job("a", [jpeg(i) for i in range(20)]), job("b", [b"no photo", b"nor this"])
    found, ended = [], []
    for some in stage.prepare([whole, bad]):
        assert len(some.photos) <= 3
        found += [(photo.job, photo.image_id, photo.pixels.shape) for photo in some.photos]
        ended += some.ended
        stage.give_back(some.photos)
    assert found == [(whole, str(i), (32, 32, 3)) for i in range(20)]
    assert ended == [bad]
    assert {why.error for why in bad.bad.values()} == {"not_an_image"}
    stage.close()


@pytest.mark.slow
def test_processes_that_are_killed_cost_no_event_and_none_is_left_behind(make_rig) -> None:
    rig: Rig = make_rig(decode_processes=2, prepare_threads=3, batch_size=4)
    rig.send(*(event(f"a/{i}", [jpeg(2 * i), jpeg(2 * i + 1)]) for i in range(150)))
    kills, deadline = 0, time.monotonic() + PATIENCE_S
    with rig.tagger() as failure:
        while kills < 3:
            assert not failure
            assert time.monotonic() < deadline
            running = children()
            if running and len({state.listing_id for state in rig.store.scan()}) >= 20 * kills:
                os.kill(running[0], signal.SIGKILL)
                kills += 1
            time.sleep(0.02)
        rig.wait(failure)
    stored = list(rig.store.scan())
    assert len(stored) == 150
    assert all(isinstance(one, StoredListing) and one.summary.status == "complete" for one in stored)
    assert rig.dead_letters() == []
    assert children() == []


@pytest.mark.slow
def test_a_drain_ends_the_processes(make_rig) -> None:
    rig: Rig = make_rig(decode_processes=1)
    stop, tagger = threading.Event(), rig.build()
    thread = threading.Thread(target=tagger.run, args=(stop,))
    thread.start()
    rig.send(event("a", [jpeg(1)]))
    rig.wait()
    assert len(children()) == 1
    stop.set()
    thread.join(PATIENCE_S)
    assert children() == []
