"""The retry delays of a fault schedule: seconds, not minutes, so that a schedule sees what comes of a retry."""

from __future__ import annotations

import os

from schemas.topics import RETRY_DELAYS_S

SLOWNESS = float(os.environ.get("GROKNET_FAULTS_SLOWNESS", "1"))
"""Stretches what is waited for at most, for a machine that is busy with other things; what is done stays the same."""
DELAYS_S = dict(zip(RETRY_DELAYS_S, (1.0, 4.0), strict=True))
"""Seconds by retry topic. Short on purpose: no outage of a server may lead here, whatever its length."""
