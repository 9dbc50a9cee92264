"""One torch function for each ONNX operator that exported graphs use."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Attributes = dict[str, Any]
Operator = Callable[[Sequence[Any], Attributes], Any]
"""Takes a node's inputs and attributes, and returns its output, or a tuple of its outputs. Integers that come from
constants and from `Shape` are Python lists, because they are known before a photo is."""

# The numbers of TensorProto. Half is computed in bfloat16: as fast on tensor cores, fast on CPUs, and no overflow.
DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.bfloat16,
    11: torch.float64,
}


def _axes(values: Sequence[Any], attributes: Attributes) -> list[int] | None:
    """Return the axes: an attribute before opset 18, later the second input, which is a constant."""
    if len(values) > 1 and values[1] is not None:
        return list(values[1])
    axes: list[int] | None = attributes.get("axes")
    return axes


def _pads(values: list[int], dimensions: int) -> tuple[list[int], int | None]:
    """Turn ONNX's pads (all begins, then all ends) into torch's order, and into one number if all are equal."""
    begins, ends = values[:dimensions], values[dimensions:]
    pairs = [side for i in reversed(range(dimensions)) for side in (begins[i], ends[i])]
    return pairs, begins[0] if len(set(values)) == 1 else None


def _conv(values: Sequence[Any], attributes: Attributes) -> Tensor:
    x, weight = values[0], values[1]
    bias = values[2] if len(values) > 2 else None
    pairs, padding = _pads(attributes.get("pads", [0, 0, 0, 0]), 2)
    if padding is None:
        x, padding = F.pad(x, pairs), 0
    return F.conv2d(
        x,
        weight,
        None if bias is None else bias.to(x.dtype),
        attributes.get("strides", [1, 1]),
        padding,
        attributes.get("dilations", [1, 1]),
        attributes.get("group", 1),
    )


def _clip(values: Sequence[Any], attributes: Attributes) -> Tensor:
    low = values[1] if len(values) > 1 else None
    high = values[2] if len(values) > 2 else None
    x: Tensor = values[0]
    if low is not None:
        x = torch.maximum(x, low.to(x.dtype))
    return x if high is None else torch.minimum(x, high.to(x.dtype))


def _pad(values: Sequence[Any], attributes: Attributes) -> Tensor:
    pairs, _ = _pads(list(values[1]), values[0].ndim)
    fill = float(values[2]) if len(values) > 2 and values[2] is not None else 0.0
    return F.pad(values[0], pairs, value=fill)


def _max_pool(values: Sequence[Any], attributes: Attributes) -> Tensor:
    x: Tensor = values[0]
    pairs, _ = _pads(attributes.get("pads", [0, 0, 0, 0]), 2)
    x = F.pad(x, pairs, value=float("-inf"))
    return F.max_pool2d(x, attributes["kernel_shape"], attributes.get("strides", [1, 1]))


def _gemm(values: Sequence[Any], attributes: Attributes) -> Tensor:
    a = values[0].T if attributes.get("transA") else values[0]
    b = values[1].T if attributes.get("transB") else values[1]
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    bias: Tensor | None = values[2] if len(values) > 2 else None
    if bias is None:
        product: Tensor = alpha * (a @ b)
        return product
    return torch.addmm(bias, a, b, beta=beta, alpha=alpha)  # one kernel, because a bundle may have a hundred heads


def _reshape(values: Sequence[Any], attributes: Attributes) -> Tensor:
    x: Tensor = values[0]
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(values[1])])


def _flatten(values: Sequence[Any], attributes: Attributes) -> Tensor:
    x: Tensor = values[0]
    return x.reshape(math.prod(x.shape[: attributes.get("axis", 1)]), -1)


def _reduce(reduction: Callable[..., Tensor]) -> Operator:
    def run(values: Sequence[Any], attributes: Attributes) -> Tensor:
        axes = _axes(values, attributes)
        x: Tensor = values[0]
        return reduction(x, list(range(x.ndim)) if axes is None else axes, bool(attributes.get("keepdims", 1)))

    return run


def _l2(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.square().sum(axes, keepdim=keep).sqrt()


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep)


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.mean(axes, keepdim=keep)


def _cast(values: Sequence[Any], attributes: Attributes) -> Tensor:
    to = DTYPES[attributes["to"]]
    x: Tensor = values[0]
    return x.to(to)


def _top_k(values: Sequence[Any], attributes: Attributes) -> tuple[Tensor, Tensor]:
    x: Tensor = values[0]
    best, places = x.topk(values[1][0], attributes.get("axis", -1), bool(attributes.get("largest", 1)))
    return best, places


OPERATORS: dict[str, Operator] = {
    "Add": lambda v, _: v[0] + v[1],
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda v, a: torch.cat(list(v), a["axis"]),
    "Conv": _conv,
    "Div": lambda v, _: v[0] / v[1],
    "Expand": lambda v, _: v[0] * torch.ones(v[1], dtype=v[0].dtype, device=v[0].device),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda v, _: v[0].mean((2, 3), keepdim=True),
    "Greater": lambda v, _: v[0] > v[1],
    "Identity": lambda v, _: v[0],
    "MatMul": lambda v, _: v[0] @ v[1],
    "Max": lambda v, _: torch.maximum(v[0], v[1]),
    "MaxPool": _max_pool,
    "Min": lambda v, _: torch.minimum(v[0], v[1]),
    "Mul": lambda v, _: v[0] * v[1],
    "Pad": _pad,
    "Pow": lambda v, _: v[0].pow(v[1]),
    "Reciprocal": lambda v, _: v[0].reciprocal(),
    "ReduceL2": _reduce(_l2),
    "ReduceMean": _reduce(_mean),
    "ReduceSum": _reduce(_sum),
    "Relu": lambda v, _: v[0].relu(),
    "Reshape": _reshape,
    "Shape": lambda v, _: list(v[0].shape),
    "Sigmoid": lambda v, _: v[0].sigmoid(),
    "Softmax": lambda v, a: v[0].softmax(a.get("axis", -1)),
    "Sqrt": lambda v, _: v[0].sqrt(),
    "Sub": lambda v, _: v[0] - v[1],
    "TopK": _top_k,
    "Transpose": lambda v, a: v[0].permute(a["perm"]),
}
