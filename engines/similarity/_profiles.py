"""Numbers for what many listings share (model version, state, category), so that a listing needs 4 bytes for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.similarity.types import Where

_KEPT = 64  # filters whose answers are kept


class Profile(NamedTuple):
    """One combination of model version, state and category."""

    model_version: str
    state: str
    category: str | None


class Profiles:
    """A numbered list that only grows. One thread at a time adds; any thread reads."""

    def __init__(self, known: Iterable[Profile] = ()) -> None:
        self._all: list[Profile] = []
        self._numbers: dict[Profile, int] = {}
        self._admitted: dict[Where, npt.NDArray[np.bool_]] = {}
        for profile in known:
            self.number(profile)

    def number(self, profile: Profile) -> int:
        """Return a profile's number. A new profile gets a new number."""
        number = self._numbers.get(profile)
        if number is None:
            number = self._numbers[profile] = len(self._all)
            self._all.append(profile)
        return number

    def __getitem__(self, number: int) -> Profile:
        return self._all[number]

    def all(self) -> list[Profile]:
        """Return all profiles, by number."""
        return self._all.copy()

    def admitted(self, where: Where) -> npt.NDArray[np.bool_]:
        """Return bool [profiles]: whether a search with this filter may find a profile's listings."""
        known = self._admitted.get(where)
        if known is None or len(known) < len(self._all):
            known = np.array([where.admits(p.state, p.category) for p in self.all()], np.bool_)
            if len(self._admitted) >= _KEPT:
                self._admitted = {}
            self._admitted[where] = known
        return known
