"""Fetches the bytes of a photo from inline data, an allowed folder or a checked web address.

This room has all rules about what may be fetched (schemes, hosts, addresses, ports, folders) and how much (bytes,
redirects, time, attempts). It does not decode photos: `engines.pixels` does.
"""

from __future__ import annotations

from workers.intake.fetch import Intake
from workers.intake.pool import FetchPool, Photos
from workers.intake.settings import IntakeSettings
from workers.intake.uploads import Uploads

__all__ = ["FetchPool", "Intake", "IntakeSettings", "Photos", "Uploads"]
