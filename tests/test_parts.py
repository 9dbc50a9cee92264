"""Which part of the full check a test belongs to, and the table of what each part took."""

from __future__ import annotations

import pytest

from tests.parts import BUDGET_S, part_of, read_parts, table


@pytest.mark.parametrize(
    ("nodeid", "marks", "part"),
    [
        ("tests/schemas/test_units.py::test_x", [], "fast tests"),
        ("tests/test_wheel.py::test_x", ["slow"], "slow tests"),
        ("tests/groknet/run/test_targets.py::test_x", ["slow", "alone"], "alone"),
        ("tests/contract/test_stream_contract.py::test_x[kafka]", ["services"], "services"),
        ("tests/workers/test_x.py::test_x", ["slow", "services"], "services"),
        ("tests/faults/test_schedules.py::test_x", ["services"], "schedules"),
        ("tests/faults/test_judging.py::test_x", [], "fast tests"),
        ("tests/deploy/operations/test_live.py::test_x", ["slow", "prometheus"], "prometheus"),
        ("tests/browser/test_page.py::test_x", ["browser"], "browser"),
    ],
)
def test_each_test_has_one_part(nodeid: str, marks: list[str], part: str) -> None:
    assert part_of(nodeid, marks) == part
    assert part in BUDGET_S


def test_the_budgets_stay_below_an_hour() -> None:
    assert sum(BUDGET_S.values()) < 3600


def test_the_table_names_what_ran_and_what_took_too_long() -> None:
    took = read_parts("demo=181 lint=30 fast_tests=99.6")
    assert table(took) == [
        "demo            181 s of   180 s  over its budget",
        "lint             30 s of   120 s",
        "fast tests      100 s of   300 s",
        f"together        311 s of {sum(BUDGET_S.values()):>5} s",
    ]
