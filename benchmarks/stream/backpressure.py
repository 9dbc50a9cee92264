"""A store fifty times slower for a minute: `python -m benchmarks.stream.backpressure --json`.

A tagger in a process of its own, with the demo's engine, works through a backlog from real Kafka to real Cassandra.
Then SIGSTOP and SIGCONT let the node run for one fiftieth of the time, and then normally again. For each of the three
phases the benchmark reports the tagger's resident memory, its commits and the members of its group.
"""

from __future__ import annotations

import io
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped]
from PIL import Image

from benchmarks.report import parser, write_result
from benchmarks.servers import make_topics, new_keyspace
from deploy.local import Services
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.manifest import load_manifest
from schemas.topics import UPLOADED
from training.studio import TEST_IDENTITIES, make_product, render
from workers.streams import build_stream
from workers.streams.base import StreamAdmin
from workers.tagger import GROUP

FIRST_US = 1_700_000_000_000_000  # event time of the first listing, UTC microseconds
ROOT = Path(__file__).parents[2]
NODE = "cassandra-1"
RUNS_S, SLOWNESS = 0.01, 50  # in each half second the node runs for 10 ms
SAMPLE_S = 0.5
START_S = 90.0


@dataclass(frozen=True, slots=True)
class Phases:
    """The seconds of each phase, and the number of events at the start, which is more than the tagger can process."""

    warm_s: float = 15.0
    usual_s: float = 30.0
    slow_s: float = 60.0
    after_s: float = 30.0
    events: int = 4000
    side: tuple[int, int] = (800, 600)


@dataclass
class Phase:
    """The measurements of one phase."""

    resident: list[int] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    committed: list[tuple[float, int]] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """The figures of the phase, in megabytes and events a second."""
        (began, first), (ended, last) = self.committed[0], self.committed[-1]
        return {
            "resident_mb_median": round(statistics.median(self.resident) / 1e6, 1),
            "resident_mb_max": round(max(self.resident) / 1e6, 1),
            "events_per_s": round((last - first) / (ended - began), 1),
            "members": len(self.members),
        }


class Watch:
    """Measures one tagger."""

    def __init__(self, pid: int, admin: StreamAdmin, bootstrap: str) -> None:
        self._process, self._admin = psutil.Process(pid), admin
        self._groups = KafkaAdminClient(bootstrap_servers=bootstrap)

    def committed(self) -> int:
        """The number of committed events of all partitions."""
        return sum(self._admin.committed(GROUP, UPLOADED).values())

    def during(self, seconds: float) -> Phase:
        """Measure twice a second for `seconds` seconds."""
        phase, ends = Phase(), time.monotonic() + seconds
        while time.monotonic() < ends:
            phase.resident.append(self._process.memory_info().rss)
            phase.members |= {member["member_id"] for member in self._members()}
            phase.committed.append((time.monotonic(), self.committed()))
            time.sleep(SAMPLE_S)
        return phase

    def close(self) -> None:
        """Release."""
        self._groups.close()

    def _members(self) -> list[dict[str, Any]]:
        described = self._groups.describe_groups([GROUP])
        group = described[GROUP] if isinstance(described, dict) else described[0]
        members: list[dict[str, Any]] = group["members"]
        return members


@contextmanager
def slowed(services: Services) -> Iterator[None]:
    """Let the node run for a fiftieth of the time. A separate process stops and resumes it."""
    state = services.status()
    server = state.server(NODE) if state else None
    assert server is not None
    assert server.pid is not None
    script = (
        f"import os, signal, time\nwhile True:\n os.kill({server.pid}, signal.SIGSTOP)\n"
        f" time.sleep({RUNS_S * (SLOWNESS - 1)})\n os.kill({server.pid}, signal.SIGCONT)\n time.sleep({RUNS_S})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        yield
    finally:
        process.kill()
        process.wait()
        os.kill(server.pid, signal.SIGCONT)


def measure(services: Services, bundle: Path, folder: Path, phases: Phases) -> dict[str, Any]:
    """Run the three phases. Returns the figures of each, and how far memory rose above its usual level."""
    environment = _prepare(services, bundle, folder, phases)
    command = [sys.executable, "-m", "groknet", "run", "tagger", "--home", str(folder), "--bundle", str(bundle)]
    with (folder / "tagger.log").open("wb") as log:
        tagger = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=log, stderr=log)
    stream = build_stream(environment["GROKNET__STREAM__URL"], "backpressure")
    admin = stream.admin()
    watch = Watch(tagger.pid, admin, services.bootstrap)
    try:
        deadline = time.monotonic() + START_S
        while not watch.committed():
            if tagger.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the tagger does not work: {(folder / 'tagger.log').read_text()[-2000:]}")
            time.sleep(SAMPLE_S)
        watch.during(phases.warm_s)
        usual = watch.during(phases.usual_s)
        with slowed(services):
            slow = watch.during(phases.slow_s)
        after = watch.during(phases.after_s)
        left = sum(admin.end_offsets(UPLOADED).values()) - watch.committed()
    finally:
        watch.close()
        admin.close()
        tagger.terminate()
        code = tagger.wait(60)
    plateau = max(usual.resident)
    return {
        "usual": usual.report(),
        "slow": slow.report(),
        "after": after.report(),
        "memory_rise_percent": round(100 * (max(slow.resident + after.resident) / plateau - 1), 1),
        "members_left": len(usual.members - slow.members) + len(slow.members - after.members),
        "members_came": len((slow.members | after.members) - usual.members),
        "events_left": left,
        "exit_code": code,
        "machine": f"{os.cpu_count()} cores shared with both servers, {platform.machine()}, "
        f"Python {platform.python_version()}",
    }


def _prepare(services: Services, bundle: Path, folder: Path, phases: Phases) -> dict[str, str]:
    store_url, stream_url = new_keyspace(services, folder).url, f"kafka://{services.bootstrap}"
    stream = build_stream(stream_url, "backpressure")
    make_topics(stream, load_manifest(bundle).epoch)
    photos, producer = _photos(phases.side), stream.producer()
    name = time.time_ns()
    for i in range(phases.events):
        ref = ImageRef(image_id="1", data=photos[i % len(photos)])
        event = ListingEvent(
            event_id=str(i), listing_id=f"b{name}/{i}", event_time=FIRST_US + i, type="created", images=[ref]
        )
        producer.send(UPLOADED, event.listing_id.encode(), encode_event(event))
        if i % 200 == 199:
            producer.flush(60)
    producer.close()
    return {"GROKNET__STREAM__URL": stream_url, "GROKNET__STORE__URL": store_url, "GROKNET__ENGINE__THREADS": "1"}


def _photos(side: tuple[int, int]) -> list[bytes]:
    found = []
    for i in range(16):
        buffer = io.BytesIO()
        Image.fromarray(render(make_product(TEST_IDENTITIES[i]), view=0, size=side).pixels).save(buffer, "JPEG")
        found.append(buffer.getvalue())
    return found


def main() -> None:
    """Read the options, start the servers, measure and print."""
    options = parser(__doc__, tells="result", bundle=True)
    options.add_argument("--slow-s", type=float, default=Phases().slow_s, help="seconds of slowness (default 60)")
    options.add_argument("--events", type=int, default=Phases().events, help="backlog (default 4000)")
    arguments = options.parse_args()
    phases = Phases(slow_s=arguments.slow_s, events=arguments.events)
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder) / "services") as services:
        result = measure(services, arguments.bundle, Path(folder), phases)
    write_result(result, arguments.json)


if __name__ == "__main__":
    main()
