"""How large a photo may be before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import ConfigError

PILLOW_MAX_PIXELS = 89_478_485  # Pillow's own bomb bound (1 GiB / 4 / 3): above it Pillow refuses, whatever we say


@dataclass(frozen=True, kw_only=True)
class PixelLimits:
    """Bounds that are read from the header, before one pixel is decoded.

    Attributes:
        max_pixels: width x height. 64 million passes the 48 and 50 megapixel photos of phones and keeps one decode
            of a format that cannot be decoded at reduced scale under 256 MB.
        max_scans: scans of one JPEG. A progressive photo has about 10; each costs a pass over all blocks, so that
            a small file with thousands would hold a core for minutes.
    """

    max_pixels: int = 64_000_000
    max_scans: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= PILLOW_MAX_PIXELS:
            raise ConfigError(f"max_pixels: {self.max_pixels} is not within 1..{PILLOW_MAX_PIXELS}")
        if self.max_scans < 1:
            raise ConfigError(f"max_scans: {self.max_scans} is below 1; 100 is plenty")
