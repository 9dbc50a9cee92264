"""Four seeded fault schedules against real Kafka and Cassandra, one with a detector and one with a products worker;
`make faults` runs more, of every kind and seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import Services

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
]


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from tests.faults import schedules, servers  # import kafka-python, which only these tests need

    folder = tmp_path_factory.mktemp("faults")
    with Services(folder, servers.settings()) as services, schedules.Harness(services) as harness:
        yield harness


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("seed", "kind"),
    [(1, "mixed"), (11, "outage"), (1, "burst"), (1, "large event")],  # seed 11: Cassandra is killed, away for 10 s
)
def test_a_schedule_of_faults_leaves_nothing_undone(harness, seed: int, kind: str) -> None:
    outcome = harness.run(seed, kind)
    assert outcome.clean, str(outcome)


@pytest.mark.timeout(400)
def test_a_schedule_with_a_detector_leaves_no_box_undone(tmp_path: Path) -> None:
    from tests.detectors import with_bright_detector
    from tests.faults import schedules, servers

    bundle = with_bright_detector(schedules.BUNDLE, tmp_path)
    with (
        Services(tmp_path / "services", servers.settings()) as services,
        schedules.Harness(services, bundle) as harness,
    ):
        outcome = harness.run(2, "mixed")
    assert outcome.clean, str(outcome)


@pytest.mark.timeout(400)
def test_a_schedule_with_products_leaves_each_listing_its_product(tmp_path: Path) -> None:
    """Seed 1: the products worker is ended, a tagger is killed, and the broker is frozen."""
    from tests.faults import schedules, servers

    with (
        Services(tmp_path / "services", servers.settings()) as services,
        schedules.Harness(services, products=True) as harness,
    ):
        outcome = harness.run(1, "mixed")
    assert outcome.clean, str(outcome)
