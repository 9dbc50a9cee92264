"""INT8 by quantise-dequantise pairs around the trunk's convolutions, in the one form that all parsers take."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from engines.recognition.folding import trunk_nodes

_BATCH = 8
# The first convolutions read few channels of wide range: the demo network with all 49 in eight bits flips 9.8 % of
# hash bits, without the first 2 3.2 %, without the first 6 1.9 %, without the first 9 1.8 %.
_FIRST_IN_FLOAT = 6
_FLOAT_SHARE = 8  # of a short network no more than one in eight
_OPTIONS = {
    # Symmetric signed bytes for weights and activations, biases in float: TensorRT's parser takes no other form.
    "WeightSymmetric": True,
    "ActivationSymmetric": True,
    "QuantizeBias": False,
    # Clipping one value in ten thousand leaves finer steps for the rest: 1.5 % flipped bits in place of 1.9 %.
    "CalibPercentile": 99.99,
    "CalibStridedMinMax": 1,  # despite its name, of every method: one batch's activations in memory at a time
}


class _Photos(CalibrationDataReader):  # type: ignore[misc]  # the package ships no types
    """The photos in batches, as ONNX Runtime's calibration asks for them."""

    def __init__(self, name: str, photos: npt.NDArray[np.uint8]) -> None:
        self._batches = [{name: photos[i : i + _BATCH]} for i in range(0, len(photos), _BATCH)]
        self._next = iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        return next(self._next, None)


def quantise(model: onnx.ModelProto, photos: npt.NDArray[np.uint8]) -> onnx.ModelProto:
    """Quantise the trunk's convolutions but the first: weights by channel, activations by the photos' percentiles.

    Args:
        model: folded, FP32.
        photos: uint8 [n, h, w, 3].
    """
    convolutions = [node.name for node in trunk_nodes(model.graph) if node.op_type == "Conv"]
    first = min(_FIRST_IN_FLOAT, len(convolutions) // _FLOAT_SHARE)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # what is given to quantize_static is emptied into a file
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            copy,
            str(path),
            _Photos(model.graph.input[0].name, photos),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=convolutions[first:],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options=_OPTIONS,
        )
        return onnx.load(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without its advice to pre-process, which `fold` has done, and its progress on standard output."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
