"""Converts a float graph to another precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError

if TYPE_CHECKING:
    import onnx

Precision = Literal["fp32", "fp16", "int8"]


def convert(
    model: onnx.ModelProto, precision: Precision, photos: npt.NDArray[np.uint8] | None, *, seven_bits: bool = False
) -> onnx.ModelProto:
    """Return a new graph that computes in `precision`. Inputs, outputs and their types stay.

    Args:
        model: a bundle's float graph; its FP16 weights may be behind Casts.
        precision: `fp32` removes the weights' Casts, `fp16` computes the trunk in half, and `int8` computes its
            convolutions in eight bits. What follows the trunk stays in FP32.
        photos: uint8 [n, h, w, 3] as `engines.pixels` decodes them, to calibrate INT8; otherwise unused. 64 photos
            like the future ones are enough.
        seven_bits: INT8 keeps weights within seven bits (`precision/processor.py`).

    Raises:
        ConfigError: an unknown precision, INT8 without photos, or a graph without a convolution.
        ModuleNotFoundError: `onnx` or `onnxruntime` is not installed.
    """
    from engines.recognition.folding import fold
    from engines.recognition.precision.half import to_half
    from engines.recognition.precision.quantise import quantise

    if precision not in ("fp32", "fp16", "int8"):
        raise ConfigError(f"precision: {precision!r} is not one of fp32, fp16, int8")
    folded = fold(model)
    if precision == "fp16":
        return to_half(folded)
    if precision == "int8":
        if photos is None or len(photos) == 0:
            raise ConfigError("photos: INT8 is calibrated on photos; name a folder of about 64 like those to come")
        return quantise(folded, photos, seven_bits=seven_bits)
    return folded
