"""The judge of liveness is itself tested: of four planted bugs it names each, by a schedule that makes it bite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import Services

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
]
PLANTED = Path(__file__).with_name("planted")
BASE_S = 10.0  # what never comes need not be waited for a minute


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    from tests.faults import servers  # imports kafka-python, which only these tests need

    with Services(tmp_path_factory.mktemp("planted"), servers.settings()) as running:
        yield running


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("bug", "kind", "seed", "named"),
    [
        ("forgetful_pause", "burst", 1, "late"),
        ("no_hold", "outage", 83, "flood"),  # Cassandra is paused for 20 s: four tries in place take some 12 s
        ("ends_on_large_letter", "large event", 1, "ended"),
        ("one_subscription", "joining", 1, "uneven"),
    ],
)
def test_the_judge_names_a_planted_bug(services: Services, bug: str, kind: str, seed: int, named: str) -> None:
    from tests.faults.schedules import Harness

    with Harness(services, script=PLANTED / f"{bug}.py", base_s=BASE_S) as harness:
        outcome = harness.run(seed, kind)
    assert not outcome.error, outcome.error
    assert outcome.counts()[named] > 0, str(outcome)
