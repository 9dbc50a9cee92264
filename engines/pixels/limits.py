"""The limits of a photo. `engines/pixels/budget.py` limits the memory of all photos that are decoded at once."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import ConfigError

MOST_PIXELS = 89_478_485  # Pillow's own limit (1 GiB / 4 / 3)


@dataclass(frozen=True, kw_only=True)
class PixelLimits:
    """Limits of one photo. All but `max_seconds` are checked before a pixel is decoded.

    Attributes:
        max_pixels: width x height. 64 million allows phone photos of 48 and 50 megapixels.
        max_scans: scans of one JPEG. A progressive photo has about 10. Each scan costs a pass over all blocks, so a
            small file with thousands of scans would occupy a core for minutes.
        max_scan_pixels: scans x pixels of one JPEG. A billion allows 15 scans of 64 million pixels, or 80 of a phone's
            12 million, and bounds the worst JPEG to about 5 s.
        max_seconds: processor time of one decode. The worst photo within the other limits takes about half of it, so
            only files that decoders handle badly reach it. It is checked after each megabyte of the file and after
            each step; a WebP, HEIC or AVIF is one step, bounded by its pixels.
    """

    max_pixels: int = 64_000_000
    max_scans: int = 100
    max_scan_pixels: int = 1_000_000_000
    max_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= MOST_PIXELS:
            raise ConfigError(f"max_pixels: {self.max_pixels} is not within 1..{MOST_PIXELS}")
        if self.max_scans < 1:
            raise ConfigError(f"max_scans: {self.max_scans} is below 1; 100 is plenty")
        if self.max_scan_pixels < 1:
            raise ConfigError(f"max_scan_pixels: {self.max_scan_pixels} is below 1; a billion is plenty")
        if self.max_seconds <= 0:
            raise ConfigError(f"max_seconds: {self.max_seconds} is not above 0; 10 is plenty")
