"""A planted bug: a bad photo is dropped without a dead letter. The oracle must miss it."""

from __future__ import annotations

from groknet.cli import main
from workers.stages.failures import Failures


class Nothing:
    """A delivery of nothing."""

    def wait(self, timeout_s: float) -> None:
        """Return at once."""


Failures.dead_letter = lambda *_, **__: Nothing()  # type: ignore[assignment,method-assign]

if __name__ == "__main__":
    main()
