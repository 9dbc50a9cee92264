"""The parts of a full check: which one a test belongs to, how long each took, and how long each may take.

`.ci/run` times the parts that are no tests (demo, lint and its own fault schedules) and hands their seconds over in
`GROKNET_PARTS`, such as `demo=41 lint=30`, so that one table at the end names all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

BUDGET_S = {
    "demo": 180,
    "lint": 120,
    "schedules": 720,  # of .ci/run, and the tests in tests/faults that start servers
    "fast tests": 300,  # four side by side (tests/everything.py)
    "slow tests": 900,  # two side by side
    "alone": 120,
    "services": 720,
    "prometheus": 300,
    "browser": 180,
}
"""Seconds a part may take on two quiet cores: together below 60 minutes."""


def part_of(nodeid: str, marks: Collection[str]) -> str:
    """The part that a test belongs to, by its id and the names of its marks."""
    if "browser" in marks:
        return "browser"
    if "prometheus" in marks:
        return "prometheus"
    if "services" in marks:
        return "schedules" if nodeid.startswith("tests/faults/") else "services"
    if "slow" in marks:
        return "alone" if "alone" in marks else "slow tests"
    return "fast tests"


def read_parts(text: str) -> dict[str, float]:
    """The seconds in `GROKNET_PARTS`, in which `_` stands for the blank in a part's name. Raises ValueError for a text
    that is not `part=seconds part=seconds …`."""
    pairs = (word.split("=") for word in text.split())
    return {part.replace("_", " "): float(seconds) for part, seconds in pairs}


def table(took_s: Mapping[str, float]) -> list[str]:
    """One line for each part that ran, and one for all of them; a part that took too long says so."""
    lines = [
        f"{part:<12}{took_s[part]:>7.0f} s of {budget:>5} s{'  over its budget' if took_s[part] > budget else ''}"
        for part, budget in BUDGET_S.items()
        if part in took_s
    ]
    return [*lines, f"{'together':<12}{sum(took_s.values()):>7.0f} s of {sum(BUDGET_S.values()):>5} s"]
