"""A tagger whose retry topics wait for seconds, not minutes (`tests/faults/ladder.py`)."""

from __future__ import annotations

from groknet.cli import main
from schemas.topics import RETRY_DELAYS_S
from tests.faults.ladder import DELAYS_S

RETRY_DELAYS_S.update(DELAYS_S)

if __name__ == "__main__":
    main()
