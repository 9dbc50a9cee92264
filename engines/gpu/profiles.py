"""Batch sizes that a plan is compiled for, and which of them a batch uses."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from schemas.errors import ConfigError

MOST = 1024  # photos in one batch; at 224 pixels that is 154 MB of input alone


@dataclass(frozen=True)
class Profiles:
    """One optimisation profile a batch size: from one photo up to that many, fastest at that many.

    The default fits the batchers: one photo of a search, a half-filled batch, a full one.
    """

    batches: tuple[int, ...] = (1, 8, 32)

    def __post_init__(self) -> None:
        if not self.batches or list(self.batches) != sorted(set(self.batches)):
            raise ConfigError(f"--batch: {_text(self.batches)}: sizes must rise, such as 1,8,32")
        if not 1 <= self.batches[0] <= self.batches[-1] <= MOST:
            raise ConfigError(f"--batch: {_text(self.batches)}: sizes must lie within 1..{MOST}")

    @classmethod
    def parse(cls, text: str) -> Profiles:
        """From `1,8,32`; raises ConfigError."""
        try:
            return cls(tuple(int(part) for part in text.split(",")))
        except ValueError:
            raise ConfigError(f"--batch: {text!r} is not a list of whole numbers such as 1,8,32") from None

    @property
    def largest(self) -> int:
        """The most photos of one execution."""
        return self.batches[-1]

    def choose(self, photos: int) -> int:
        """The place of the smallest profile that takes `photos`; raises ValueError beyond the largest."""
        place = bisect_left(self.batches, photos)
        if photos < 1 or place == len(self.batches):
            raise ValueError(f"photos: {photos} in a batch, not 1..{self.largest}")
        return place

    def smaller(self) -> Profiles | None:
        """Without the largest, or None when it is the only one."""
        return Profiles(self.batches[:-1]) if len(self.batches) > 1 else None


def _text(batches: tuple[int, ...]) -> str:
    return ",".join(map(str, batches)) or "nothing"
