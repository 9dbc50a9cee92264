"""Three seeded fault schedules against real Kafka and Cassandra; `make faults` runs more, at any seed."""

from __future__ import annotations

from collections.abc import Iterator

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
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_schedule_of_faults_loses_nothing(harness, seed: int) -> None:
    outcome = harness.run(seed)
    assert outcome.clean, str(outcome)
