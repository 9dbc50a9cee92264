"""The batch sizes that an engine is compiled for, and which of them a batch uses."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from engines.gpu.driver import OutOfDeviceMemory
from schemas.errors import ConfigError

_log = logging.getLogger(__name__)
T = TypeVar("T")

MOST = 1024  # photos in one batch; at 224 pixels that is 154 MB of input alone

_ROOM = "end other work on that GPU, or build the engine for smaller batches: groknet engine build BUNDLE --batch 1,4"


@dataclass(frozen=True)
class Profiles:
    """One optimisation profile for each batch size: it takes 1 to that many photos and is fastest at that many.

    The default fits the batchers: one photo of a search, a half-filled batch, a full batch.
    """

    batches: tuple[int, ...] = (1, 8, 32)

    def __post_init__(self) -> None:
        if not self.batches or list(self.batches) != sorted(set(self.batches)):
            raise ConfigError(f"--batch: {_text(self.batches)}: sizes must rise, such as 1,8,32")
        if not 1 <= self.batches[0] <= self.batches[-1] <= MOST:
            raise ConfigError(f"--batch: {_text(self.batches)}: sizes must lie within 1..{MOST}")

    @classmethod
    def parse(cls, text: str) -> Profiles:
        """Read a list such as `1,8,32`. Raises ConfigError."""
        try:
            return cls(tuple(int(part) for part in text.split(",")))
        except ValueError:
            raise ConfigError(f"--batch: {text!r} is not a list of whole numbers such as 1,8,32") from None

    @property
    def largest(self) -> int:
        """The most photos of one execution."""
        return self.batches[-1]

    def choose(self, photos: int) -> int:
        """Return the index of the smallest profile that takes `photos`. Raises ValueError beyond the largest."""
        place = bisect_left(self.batches, photos)
        if photos < 1 or place == len(self.batches):
            raise ValueError(f"photos: {photos} in a batch, not 1..{self.largest}")
        return place

    def smaller(self) -> Profiles | None:
        """The profiles without the largest; None if there is only one."""
        return Profiles(self.batches[:-1]) if len(self.batches) > 1 else None


def open_profiles(profiles: Profiles, attempt: Callable[[Profiles], T]) -> T:
    """Return `attempt(profiles)`. If memory runs out, try once more without the largest profile.

    Raises:
        ConfigError: the second try ran out of memory too, or there is only one profile.
    """
    try:
        return attempt(profiles)
    except OutOfDeviceMemory as error:
        smaller = profiles.smaller()
        if smaller is None:
            raise ConfigError(f"engine: the GPU has no room for {profiles.largest} photos ({error}); {_ROOM}") from None
        _log.warning(
            "no room for %d photos on the GPU (%s); continuing with %d", profiles.largest, error, smaller.largest
        )
    try:
        return attempt(smaller)
    except OutOfDeviceMemory as error:
        raise ConfigError(
            f"engine: the GPU has no room for {smaller.largest} photos either ({error}); {_ROOM}"
        ) from None


def _text(batches: tuple[int, ...]) -> str:
    return ",".join(map(str, batches)) or "nothing"
