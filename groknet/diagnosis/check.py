"""One finding of `groknet doctor`."""

from __future__ import annotations

from typing import Literal

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. `note`: worth knowing, no failure."""

    check: str
    state: Literal["ok", "note", "failed"]
    detail: str
    remedy: str = ""
