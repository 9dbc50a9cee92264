"""The torch back end: a bundle's graph run by torch functions, for GPUs without TensorRT.

Imported by `build_engine` only. On a GPU the whole is compiled by `torch.compile`; a CPU runs it as it is, where
compiling gains nothing. Convolutions are channels-last. A half bundle computes its trunk in bfloat16.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from engines.recognition.bundle import Bundle
from engines.recognition.precision.folding import fold
from engines.recognition.tensorrt.cuda import failure
from engines.recognition.torch_ops import OPERATORS
from schemas.errors import BundleRefused, ConfigError

_log = logging.getLogger(__name__)
_UNKNOWN = 999  # CUDA's own code for it, which lasts


class Graph(nn.Module):
    """An ONNX graph of the operators in `torch_ops`; `forward` takes its one input, gives the outputs asked for."""

    def __init__(self, model: onnx.ModelProto, outputs: list[str]) -> None:
        super().__init__()
        graph = fold(model).graph
        missing = sorted({node.op_type for node in graph.node} - OPERATORS.keys() - {"Constant"})
        if missing:
            raise BundleRefused(
                f"model.onnx: the torch back end has no {', '.join(missing)}; take another back end, or a float bundle"
            )
        self._names: dict[str, str] = {}
        self._small: dict[str, Tensor] = {}  # shapes and axes stay on the host: reading them must not wait for a GPU
        for tensor in graph.initializer:
            self._keep(tensor.name, numpy_helper.to_array(tensor))
        self._steps = []
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], numpy_helper.to_array(attributes["value"]))
            else:
                self._steps.append((OPERATORS[node.op_type], list(node.input), node.output[0], attributes))
        self._input, self._outputs = graph.input[0].name, outputs

    def _keep(self, name: str, values: npt.NDArray[Any]) -> None:
        tensor = torch.from_numpy(np.array(values))
        if not tensor.is_floating_point():
            self._small[name] = tensor
            return
        if tensor.dtype == torch.float16:
            tensor = tensor.to(torch.bfloat16)
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        self._names[name] = f"w{len(self._names)}"
        self.register_buffer(self._names[name], tensor)

    def forward(self, photos: Tensor) -> tuple[Tensor, ...]:
        """uint8 [n, h, w, 3] → the outputs, in the order asked for."""
        values: dict[str, Any] = {name: getattr(self, key) for name, key in self._names.items()}
        values |= self._small
        values[self._input] = photos
        for operator, inputs, output, attributes in self._steps:
            values[output] = operator([values[name] if name else None for name in inputs], attributes)
        return tuple(values[name] for name in self._outputs)


class Torch:
    """The graph on the GPU where there is one, else on the CPU. One batch at a time on a device.

    Out of the GPU's memory, batches go in parts of half that size from then on; a second time is an error.
    """

    def __init__(self, bundle: Bundle, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._outputs = list(bundle.outputs)
        model = onnx.load(bundle.model_path)
        there = {value.name for value in model.graph.output}
        for name in self._outputs:
            if name not in there:
                raise BundleRefused(f"model.onnx: {name}: no such output; export again")
        graph = Graph(model, self._outputs).eval().to(self._device)
        run: Callable[[Tensor], tuple[Tensor, ...]] = graph
        self._run = torch.compile(run, dynamic=True) if self._device.type == "cuda" else run
        self._lock = threading.Lock()
        self._part = 0  # most photos at once; 0: as many as come

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """See `Backend.run`; raises ConfigError without room for a part, DeviceLost or DeviceFault where it failed."""
        with self._lock, torch.inference_mode():
            while True:
                try:
                    return self._in_parts(photos)
                except torch.OutOfMemoryError as error:
                    self._part = smaller_part(len(photos), self._part, error)  # raises the second time
                except torch.AcceleratorError as error:
                    code = int(getattr(error, "error_code", _UNKNOWN))
                    raise failure("torch", code, str(error).partition("\n")[0]) from None

    def _in_parts(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        size = self._part or len(photos)
        parts = []
        for start in range(0, len(photos), size):
            values = self._run(torch.from_numpy(photos[start : start + size]).to(self._device))
            parts.append([value.cpu().numpy() for value in values])
        joined = parts[0] if len(parts) == 1 else [np.concatenate(rows) for rows in zip(*parts, strict=True)]
        return dict(zip(self._outputs, joined, strict=True))

    def close(self) -> None:
        del self._run


def smaller_part(photos: int, part: int, error: Exception) -> int:
    """Half of what was too much, once; raises ConfigError where parts were halved before, or one photo is too much."""
    text = str(error).partition("\n")[0]
    if part or photos == 1:
        raise ConfigError(
            f"engine: the GPU has no room for {part or photos} photos ({text}); end what else runs there, or set "
            "engine.max_batch lower"
        ) from None
    half = -(-photos // 2)
    _log.warning("no room for %d photos on the GPU (%s); going on with %d", photos, text, half)
    return half
