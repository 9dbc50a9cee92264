"""A tagger whose retry topics wait for seconds, not minutes, so that a fault schedule can see what comes of them."""

from __future__ import annotations

from groknet.cli import main
from schemas.topics import RETRY_DELAYS_S

# The last one is longer than a node needs to come back on busy cores: after it a retry is given up for good.
RETRY_DELAYS_S.update(zip(RETRY_DELAYS_S, (2.0, 20.0), strict=True))

if __name__ == "__main__":
    main()
