"""Fetch and guard: the bytes of one photo from inline data, an allowed folder or a checked address.

Here lives every rule about what may be reached (schemes, hosts, addresses, ports, folders) and how much of it
(bytes, redirects, time, attempts). What the bytes mean is not known here: decoding belongs to `engines.pixels`.
"""

from __future__ import annotations

from workers.intake.fetch import Intake
from workers.intake.settings import IntakeSettings
from workers.intake.uploads import Uploads

__all__ = ["Intake", "IntakeSettings", "Uploads"]
