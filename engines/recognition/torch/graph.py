"""A bundle's ONNX graph as a torch module. Convolutions are channels-last; a half bundle computes in bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from engines.recognition.bundles.bundle import Bundle
from engines.recognition.folding import fold
from engines.recognition.torch.operators import OPERATORS
from schemas.errors import BundleRefused


class Graph(nn.Module):
    """An ONNX graph made of the functions in `operators`. `forward` takes its one input and returns chosen outputs."""

    def __init__(self, model: onnx.ModelProto, outputs: list[str]) -> None:
        super().__init__()
        graph = fold(model).graph
        missing = sorted({node.op_type for node in graph.node} - OPERATORS.keys() - {"Constant"})
        if missing:
            raise BundleRefused(
                f"model.onnx: the torch back end has no {', '.join(missing)}; use another back end, or a float bundle"
            )
        self._names: dict[str, str] = {}
        self._small: dict[str, Any] = {}  # shapes and axes as Python integers: no GPU and no compiler has to read them
        for tensor in graph.initializer:
            self._keep(tensor.name, numpy_helper.to_array(tensor))
        self._steps = []
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], numpy_helper.to_array(attributes["value"]))
            else:
                self._steps.append((OPERATORS[node.op_type], list(node.input), list(node.output), attributes))
        self._input, self._outputs = graph.input[0].name, outputs

    def _keep(self, name: str, values: npt.NDArray[Any]) -> None:
        tensor = torch.from_numpy(np.array(values))
        if not tensor.is_floating_point():
            self._small[name] = tensor.tolist()
            return
        if tensor.dtype == torch.float16:
            tensor = tensor.to(torch.bfloat16)
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        self._names[name] = f"w{len(self._names)}"
        self.register_buffer(self._names[name], tensor)

    def forward(self, photos: Tensor) -> tuple[Tensor, ...]:
        """Compute the chosen outputs, in order, for uint8 [n, h, w, 3]."""
        values: dict[str, Any] = {name: getattr(self, key) for name, key in self._names.items()}
        values |= self._small
        values[self._input] = photos
        for operator, inputs, outputs, attributes in self._steps:
            found = operator([values[name] if name else None for name in inputs], attributes)
            values.update(zip(outputs, found if isinstance(found, tuple) else (found,), strict=True))
        return tuple(values[name] for name in self._outputs)


def load_graph(bundle: Bundle) -> onnx.ModelProto:
    """Load the bundle's graph. Raises BundleRefused if it lacks an output that the manifest names."""
    model = onnx.load(bundle.model_path)
    bundle.check_graph_outputs({value.name for value in model.graph.output})
    return model
