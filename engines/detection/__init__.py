"""Pixels to boxes: finds the products in a photo, before recognition describes them.

`open_detector` (in `engine`) loads a detector bundle and refuses it unless its checksums match and its boxes for the
parity photos are the recorded ones. `interface` says what every detector gives. The back ends are recognition's. Photos
are decoded in `engines/pixels`. `precision` makes an INT8 bundle, and `speed` measures. `plan` says which boxes are
taken, and `combine` joins a detector and a recogniser's bundle.
"""

from engines.detection.engine import DETECTOR_BACKENDS, DetectorBackend, open_detector
from engines.detection.interface import Detection, Detector
from engines.detection.plan import chosen, padded

__all__ = ["DETECTOR_BACKENDS", "Detection", "Detector", "DetectorBackend", "chosen", "open_detector", "padded"]
