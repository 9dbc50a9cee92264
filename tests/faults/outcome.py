"""What came of schedules, as a line and as JSON."""

from __future__ import annotations

import json
import statistics
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.deadline import Deadline
from tests.faults.oracle import Verdict

_SHOWN = 5
_PLACES = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """One schedule. The numbers count what a `Verdict` has under the same names; `findings`: some of it, in words;
    `deadline`: the parts of the time that was allowed after the last fault; `error`: why it has no verdict."""

    seed: int
    seconds: float
    lost: int
    wrong: int
    extra: int
    faults: list[str]
    findings: list[str]
    error: str = ""
    kind: str = ""
    late: int = 0
    flood: int = 0
    ended: int = 0
    uneven: int = 0
    deadline: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        seed: int,
        verdict: Verdict,
        faults: list[str],
        seconds: float,
        *,
        error: str = "",
        kind: str = "",
        deadline: Deadline | None = None,
    ) -> Outcome:
        """Count what a verdict found."""
        findings = [f"{name}: {text}" for name, texts in verdict.kinds().items() for text in texts[:_SHOWN]]
        return cls(
            seed=seed,
            seconds=round(seconds, 1),
            faults=list(faults),
            findings=findings,
            error=error,
            kind=kind,
            deadline=deadline.report() if deadline else {},
            **{name: len(texts) for name, texts in verdict.kinds().items()},
        )

    def counts(self) -> dict[str, int]:
        """How many findings of each kind."""
        return {name: getattr(self, name) for name in Verdict().kinds()}

    @property
    def clean(self) -> bool:
        """Nothing was found, and the schedule came to its end."""
        return not (self.error or any(self.counts().values()))

    def __str__(self) -> str:
        found = ", ".join(f"{count} {name}" for name, count in self.counts().items() if count)
        found = found or ("no verdict" if self.error else "clean")
        line = f"seed {self.seed} {self.kind}: {self.seconds:.1f} s, {found}{self._time()} ({', '.join(self.faults)})"
        return "\n  ".join([line, *self.findings, *([self.error] if self.error else [])])

    def _time(self) -> str:
        if not self.deadline:
            return ""
        d = self.deadline
        took = "not there" if d["took_s"] is None else f"there after {d['took_s']:.1f} s"
        allowed = f"{d['allowed_s']:.0f} = {d['base_s']:.0f} + {d['backlog']:.0f} events ÷ {d['rate']:.1f}/s"
        return f", {took} of {allowed}, retries {d['retry_s']:.0f} after due"


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
        **{name: sum(outcome.counts()[name] for outcome in outcomes) for name in Verdict().kinds()},
        "errors": sum(bool(outcome.error) for outcome in outcomes),
        "seconds": round(seconds, 1),
        "seconds_a_schedule": {"median": round(statistics.median(took), 1), "max": max(took)},
        "kinds": dict(Counter(outcome.kind for outcome in outcomes)),
        "unclean": [asdict(outcome) for outcome in outcomes if not outcome.clean],
        "seeds": {str(outcome.seed): outcome.seconds for outcome in outcomes},
    }
