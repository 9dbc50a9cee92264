"""Pixels to predictions: a bundle, compiled for one back end, behind one small interface.

`build_engine` loads a bundle, refuses it unless its checksums, format version and parity vectors match, and returns a
`RecognitionEngine`: a batch of photos in, calibrated top-k predictions, embeddings and packed hashes out, as arrays.
Everything up to raw probabilities is inside the graph; calibration and thresholds come from the manifest. Back ends are
imported by `build_engine` alone; decoding is `engines/pixels`', and nothing here knows of listings, streams or stores.
"""

from engines.recognition.bundle import Bundle, load_bundle
from engines.recognition.calibration import Calibrator
from engines.recognition.engine import BACKENDS, build_engine
from engines.recognition.hash_layer import asymmetric
from engines.recognition.interface import RecognitionEngine
from engines.recognition.predictions import HeadPredictions, Predictions

__all__ = [
    "BACKENDS",
    "Bundle",
    "Calibrator",
    "HeadPredictions",
    "Predictions",
    "RecognitionEngine",
    "asymmetric",
    "build_engine",
    "load_bundle",
]
