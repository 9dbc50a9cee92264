"""INT8 with quantise-dequantise pairs around the trunk's convolutions, in the form that every parser accepts."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from engines.recognition.folding import trunk_nodes

_BATCH = 8
# The first convolutions stay in float, because they read few channels of wide range. Flipped hash bits of the demo
# network: 9.8 % with all 49 in eight bits, 3.2 % without the first 2, 1.9 % without the first 6, 1.8 % without 9.
_FIRST_IN_FLOAT = 6
_FLOAT_SHARE = 8  # a short network keeps at most one in eight in float
_OPTIONS = {
    # TensorRT's parser accepts only symmetric signed bytes for weights and activations, with biases in float.
    "WeightSymmetric": True,
    "ActivationSymmetric": True,
    "QuantizeBias": False,
    # Clipping one value in ten thousand leaves finer steps for the others: 1.5 % flipped bits instead of 1.9 %.
    "CalibPercentile": 99.99,
    "CalibStridedMinMax": 1,  # despite its name it applies to every method: one batch's activations in memory at a time
}


class _Photos(CalibrationDataReader):  # type: ignore[misc]  # the package ships no types
    """The photos in batches, in the form that ONNX Runtime's calibration needs."""

    def __init__(self, name: str, photos: npt.NDArray[np.uint8]) -> None:
        self._batches = [{name: photos[i : i + _BATCH]} for i in range(0, len(photos), _BATCH)]
        self._next = iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        return next(self._next, None)


def quantise(
    model: onnx.ModelProto,
    photos: npt.NDArray[np.uint8],
    *,
    seven_bits: bool = False,
    in_float: Collection[str] = (),
) -> onnx.ModelProto:
    """Quantise the trunk's convolutions except the first few.

    Weights are scaled by channel, activations by percentiles over the photos.

    Args:
        model: folded, FP32.
        photos: uint8 [n, h, w, 3].
        seven_bits: weights within ±64, for processors on which sums of larger products are cut off.
        in_float: names of further convolutions that stay in float.
    """
    convolutions = [node.name for node in trunk_nodes(model.graph) if node.op_type == "Conv"]
    first = min(_FIRST_IN_FLOAT, len(convolutions) // _FLOAT_SHARE)
    chosen = [name for name in convolutions[first:] if name not in in_float]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # quantize_static moves its argument's content into a file
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            copy,
            str(path),
            _Photos(model.graph.input[0].name, photos),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=seven_bits,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options=_OPTIONS,
        )
        return onnx.load(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence ONNX Runtime's advice to pre-process, which `fold` has done, and its progress on standard output."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
