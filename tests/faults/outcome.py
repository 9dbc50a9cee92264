"""What came of schedules, as a line and as JSON."""

from __future__ import annotations

import json
import statistics
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.oracle import Verdict

_SHOWN = 5
_PLACES = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """One schedule. `findings`: some of what was lost, wrong or extra, in words; `error`: why it has no verdict."""

    seed: int
    seconds: float
    lost: int
    wrong: int
    extra: int
    faults: list[str]
    findings: list[str]
    error: str = ""

    @classmethod
    def of(cls, seed: int, verdict: Verdict, faults: list[str], seconds: float, error: str = "") -> Outcome:
        """Count what a verdict found."""
        kinds = [verdict.lost, verdict.wrong, verdict.extra]
        findings = [text for kind in kinds for text in kind[:_SHOWN]]
        lost, wrong, extra = (len(kind) for kind in kinds)
        return cls(seed, round(seconds, 1), lost, wrong, extra, list(faults), findings, error)

    @property
    def clean(self) -> bool:
        """Nothing was lost, wrong or extra, and the schedule came to its end."""
        return not (self.error or self.lost or self.wrong or self.extra)

    def __str__(self) -> str:
        counts = f"{self.lost} lost, {self.wrong} wrong, {self.extra} extra"
        line = f"seed {self.seed}: {self.seconds:.1f} s, {counts} ({', '.join(self.faults)})"
        return "\n  ".join([line, *self.findings, *([self.error] if self.error else [])])


def words(error: Exception) -> str:
    """What it says, and the last places it went through: a schedule is not easily made to fail the same way again."""
    places = traceback.extract_tb(error.__traceback__)[-_PLACES:]
    where = ", ".join(f"{Path(place.filename).name}:{place.lineno} {place.name}" for place in places)
    return f"{type(error).__name__}: {error} ({where})"


def keep_outcome(file: Path | None, outcome: Outcome) -> None:
    """Append it to a file of results, where there is one."""
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(outcome)) + "\n")


def read_outcomes(file: Path | None) -> list[Outcome]:
    """What a file of results has: the last of each seed, in the order of seeds."""
    if file is None or not file.exists():
        return []
    found = (Outcome(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines())
    return [outcome for _, outcome in sorted({one.seed: one for one in found}.items())]


def summary(outcomes: Sequence[Outcome], seconds: float, missing: int = 0) -> dict[str, object]:
    """All of them in one object that JSON can hold; `missing`: of how many seeds there is no outcome yet."""
    took = [outcome.seconds for outcome in outcomes] or [0.0]
    return {
        "schedules": len(outcomes),
        "missing": missing,
        "clean": sum(outcome.clean for outcome in outcomes),
        "lost": sum(outcome.lost for outcome in outcomes),
        "wrong": sum(outcome.wrong for outcome in outcomes),
        "extra": sum(outcome.extra for outcome in outcomes),
        "errors": sum(bool(outcome.error) for outcome in outcomes),
        "seconds": round(seconds, 1),
        "seconds_a_schedule": {"median": round(statistics.median(took), 1), "max": max(took)},
        "unclean": [asdict(outcome) for outcome in outcomes if not outcome.clean],
        "seeds": {str(outcome.seed): outcome.seconds for outcome in outcomes},
    }
