"""The size limits of a photo."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import ConfigError

PILLOW_MAX_PIXELS = 89_478_485  # Pillow's own limit (1 GiB / 4 / 3), above which it always refuses


@dataclass(frozen=True, kw_only=True)
class PixelLimits:
    """Limits that are checked in the header, before a pixel is decoded.

    Attributes:
        max_pixels: width x height. 64 million allows phone photos of 48 and 50 megapixels, and keeps a decode below
            256 MB in formats that cannot be decoded at a reduced scale.
        max_scans: scans of one JPEG. A progressive photo has about 10. Each scan costs a pass over all blocks, so a
            small file with thousands of scans would occupy a core for minutes.
    """

    max_pixels: int = 64_000_000
    max_scans: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= PILLOW_MAX_PIXELS:
            raise ConfigError(f"max_pixels: {self.max_pixels} is not within 1..{PILLOW_MAX_PIXELS}")
        if self.max_scans < 1:
            raise ConfigError(f"max_scans: {self.max_scans} is below 1; 100 is plenty")
