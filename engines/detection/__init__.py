"""Pixels to boxes: finds the products in a photo, before recognition describes them.

`interface` says what every detector gives. Photos are decoded in `engines/pixels`.
"""

from engines.detection.interface import Detection, Detector
from engines.detection.plan import chosen, padded

__all__ = ["Detection", "Detector", "chosen", "padded"]
