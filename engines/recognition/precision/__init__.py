"""The precision of a bundle, written into the graph itself, so that every back end computes in the same one.

`convert` rewrites a float graph: FP16 by explicit Casts around the trunk, INT8 by quantise-dequantise pairs calibrated
on photos. GeM, heads, softmax, normalisation and hash stay in FP32. `write_bundle` makes a bundle of that precision,
which any back end opens and which its gate has judged. Needs `onnx`, and `onnxruntime` to fold and to calibrate.
"""

from engines.recognition.precision.bundles import write_bundle
from engines.recognition.precision.convert import Precision, convert

__all__ = ["Precision", "convert", "write_bundle"]
