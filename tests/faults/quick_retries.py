"""A tagger whose retry topics wait for seconds, not minutes, so that a fault schedule can see what comes of them."""

from __future__ import annotations

import os

from groknet.cli import main
from schemas.topics import RETRY_DELAYS_S

# With three times some 9 s in place, longer than a node needs to come back, killed three times running on busy cores
# (with 6 s in place of 20 a listing was given up then, once in 140 schedules): after that a retry is given up for good.
_SLOWNESS = float(os.environ.get("GROKNET_FAULTS_SLOWNESS", "1"))
RETRY_DELAYS_S.update(zip(RETRY_DELAYS_S, (1.0, 20.0 * _SLOWNESS), strict=True))

if __name__ == "__main__":
    main()
