"""Pixels to predictions: a bundle, made ready for one back end, behind one small interface.

`build_engine` (in `engine`) loads a bundle and refuses it unless its checksums and format version match and its
answers to the parity photos agree with the recorded ones. It returns a `RecognitionEngine` (in `interface`): photos in;
calibrated predictions, embeddings and packed hashes out, as arrays. The graph computes everything up to raw
probabilities. Calibration and thresholds come from the manifest.

- the bundle on disk: `bundles/` (loading, `diff`, external data, parity photos)
- the answer: `outputs/` (applicability, calibration and thresholds, predictions, hash layer, best labels alone)
- checks: `bundles/parity` (FP32), `parity_gate` (lower precision)
- back ends: `onnx_runtime`, `openvino`, `torch/`, `tensorrt/`; for GPUs `gpu_graph`
- other precisions: `precision/`, `folding`; folders with plans: `engine_folder`
- running batches: `bisect` finds the photo that makes a batch fail; `speed` measures

Photos are decoded in `engines/pixels`. Nothing here knows about listings, streams or stores.
"""

from engines.recognition.bundles.bundle import Bundle, load_bundle
from engines.recognition.engine import BACKENDS, build_engine
from engines.recognition.interface import RecognitionEngine
from engines.recognition.outputs.calibration import Calibrator
from engines.recognition.outputs.hash_layer import HashLayer, asymmetric, cosines, in_eight_bits, read_hash_layer
from engines.recognition.outputs.predictions import HeadPredictions, Predictions
from engines.recognition.outputs.unrounded import Unrounded, mean_of

__all__ = [
    "BACKENDS",
    "Bundle",
    "Calibrator",
    "HashLayer",
    "HeadPredictions",
    "Predictions",
    "RecognitionEngine",
    "Unrounded",
    "asymmetric",
    "build_engine",
    "cosines",
    "in_eight_bits",
    "load_bundle",
    "mean_of",
    "read_hash_layer",
]
