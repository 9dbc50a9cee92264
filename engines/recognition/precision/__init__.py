"""Makes bundles of lower precision. The precision is part of the graph, so every back end computes in the same one.

`convert` rewrites a float graph: FP16 with explicit Casts around the trunk, INT8 with quantise-dequantise pairs that
are calibrated on photos. GeM, heads, softmax, normalisation and hash stay in FP32. `write_bundle` makes a bundle that
any back end can open, after its gate has passed it. Both need `onnx`, and `onnxruntime` to fold and to calibrate.
"""

from engines.recognition.precision.bundles import write_bundle
from engines.recognition.precision.convert import Precision, convert

__all__ = ["Precision", "convert", "write_bundle"]
