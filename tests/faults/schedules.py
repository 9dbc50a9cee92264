"""Seeded fault schedules against real Kafka and Cassandra: `python -m tests.faults.schedules --seed 1 --schedules 3`.

Two taggers and an indexer run while workers are killed and ended, taggers join and leave, broker and node are killed,
paused and away for longer than any retry waits, dead letters cannot be written, events come twice, out of order, in
bursts and too large, some photos are poison, and some photo hosts fail. `docs/explanation/fault-schedules.md` has the
kinds. With `--detect`, products are found in the photos: each has up to four rows, hashes and entries of the index.
With `--products`, a products worker runs too, and is killed and ended like the others; a seller leaves in each
schedule; and at the end products are compared with the listings, before and after one more restart of their worker.

After the last fault nothing is started again. Within 60 s + backlog ÷ rate everything must be stored and searchable,
each retry within 30 s of its due time. Then an oracle compares the table, the compacted topic, the index, the retry
topics and the dead letters with what the events say.

A line each schedule, then one JSON object, also where it is broken off (Ctrl-C, TERM). What a seed does depends on
nothing but the seed: with `--results FILE` the same command goes on where it was broken off, and the JSON object at
the end is of all.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from deploy.local import Services
from engines.detection import open_detector
from engines.recognition import build_engine
from schemas.manifest import DETECTOR_FOLDER
from tests.detectors import with_bright_detector
from tests.faults import servers
from tests.faults.cluster import Watch
from tests.faults.deadline import BASE_S
from tests.faults.kinds import NAMES, draw
from tests.faults.oracle import Truth
from tests.faults.outcome import Outcome, keep_outcome, read_outcomes, summary, words
from tests.faults.photo_host import PhotoHost
from tests.faults.schedule import Schedule
from tests.faults.town import RETRIES, Stalled, Town
from tests.faults.workload import studio_jpegs
from workers.stages.detect import Looking

PHOTOS = 24
SCHEDULES_A_TOWN = 10  # the oracle judges all that happened in a town, so that it must not grow for ever
BUNDLE = Path(__file__).parents[2] / "training/bundles/demo"
LISTINGS, FAULTS = 80, 5


class Harness:
    """Runs schedules on one set of servers, one after the other; a context manager."""

    def __init__(
        self,
        services: Services,
        bundle: Path = BUNDLE,
        *,
        listings: int = LISTINGS,
        faults: int = FAULTS,
        script: Path = RETRIES,
        base_s: float = BASE_S,
        products: bool = False,
    ) -> None:
        """`script`: what each tagger runs, for a planted bug; `base_s`: the fixed part of each deadline, seconds;
        `products`: whether a products worker runs as well."""
        self._products = products
        self._services, self._bundle, self._script = services, bundle, script
        self._listings, self._faults, self._base_s = listings, faults, base_s
        self._engine = build_engine(bundle)
        detector = open_detector(bundle / DETECTOR_FOLDER) if self._engine.manifest.detection else None
        self._looking = Looking.of(self._engine.manifest, detector)
        self._photos = studio_jpegs(PHOTOS)
        self._truth: Truth = {}
        self._host = PhotoHost()
        self._town: Town | None = None

    def __enter__(self) -> Harness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._leave_town()
        finally:
            self._host.close()

    def run(self, seed: int, kind: str | None = None) -> Outcome:
        """One schedule, in the town of the one before unless that found something; `kind` forces its kind. An error of
        the schedule itself is an outcome, too."""
        began = time.monotonic()
        schedule = draw(
            seed,
            self._photos,
            self._host,
            listings=self._listings,
            faults=self._faults,
            kind=kind,
            products=self._products,
        )
        error, deadline = "", None
        try:
            town = self._in_town(schedule)
            with Watch(town.cluster) as watch:
                rate = schedule.run(town)
                watch.hands_off()
                deadline = town.after_faults(rate, self._base_s)
                schedule.verdict.take(town.judge(self._engine, self._truth, deadline, self._looking))
            if not schedule.verdict.clean or town.schedules >= SCHEDULES_A_TOWN:
                self._leave_town()
        except Exception as why:
            if isinstance(why, Stalled):
                schedule.verdict.late.append(str(why))
            else:
                error = words(why)
            try:
                self._leave_town()
            except Exception as then:
                error += f"; leaving: {words(then)}"
        seconds = time.monotonic() - began
        return Outcome.of(
            seed,
            schedule.verdict,
            schedule.steps,
            seconds,
            error=error,
            kind=schedule.kind,
            deadline=deadline,
        )

    def _in_town(self, schedule: Schedule) -> Town:
        """Everything up and ready, whatever the schedule before has left."""
        self._services.up()
        if self._town is not None and self._town.supervised != schedule.supervised:
            self._leave_town()
        if self._town is None:
            self._town = Town(
                self._services,
                self._bundle,
                self._host,
                supervised=schedule.supervised,
                script=self._script,
                products=self._products,
            )
        self._town.settle_in()
        return self._town

    def _leave_town(self) -> None:
        town, self._town = self._town, None
        if town is not None:
            self._services.up()
            town.close()


def run(seeds: Sequence[int], options: argparse.Namespace, hear: Callable[[Outcome], None]) -> None:
    """Schedules on servers of their own; `hear` is told of each."""
    if not seeds:
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bundle = with_bright_detector(options.bundle, folder) if options.detect else options.bundle
        services = stack.enter_context(Services(folder / "services", servers.settings()))
        many = {"listings": options.listings, "faults": options.faults, "products": options.products}
        harness = stack.enter_context(Harness(services, bundle, **many))
        for seed in seeds:
            hear(harness.run(seed, options.kind))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the first schedule; the next ones count up")
    parser.add_argument("--schedules", type=int, default=20)
    parser.add_argument("--listings", type=int, default=LISTINGS, help="listings a schedule")
    parser.add_argument("--faults", type=int, default=FAULTS, help="faults a schedule")
    parser.add_argument("--kind", choices=sorted(NAMES), help="every schedule is of this kind, not of a drawn one")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--detect", action="store_true", help="join the bundle with a detector first")
    parser.add_argument("--products", action="store_true", help="run a products worker too, and judge its products")
    parser.add_argument("--results", type=Path, help="append a JSON line a schedule; seeds that have one are not run")
    return parser.parse_args()


def main() -> int:
    """Run, print a line each and a JSON object at the end; the exit code is 1 when a schedule found something, 130
    when it was broken off."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # workers and servers must not outlive this process
    began, cut = time.monotonic(), False
    seeds = range(options.seed, options.seed + options.schedules)
    outcomes = [outcome for outcome in read_outcomes(options.results) if outcome.seed in seeds]
    done = {outcome.seed for outcome in outcomes}

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def hear(outcome: Outcome) -> None:
        outcomes.append(outcome)
        keep_outcome(options.results, outcome)
        say(str(outcome))

    try:
        run([s for s in seeds if s not in done], options, hear)
    except KeyboardInterrupt:
        cut = True
    say(json.dumps(summary(outcomes, time.monotonic() - began, missing=len(seeds) - len(outcomes))))
    return 130 if cut else int(any(not outcome.clean for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
