"""A trunk in 16 bits, and the rest in float."""

from __future__ import annotations

from onnx import TensorProto

from engines.recognition.precision import convert
from tests.engines.recognition.precision.graphs import deep_graph, types


def test_half_trunk_and_float_for_the_rest() -> None:
    half = convert(deep_graph(), "fp16", None)
    known = types(half)
    for node in half.graph.node:
        data = known[node.input[0]]
        if node.op_type in ("Conv", "Clip", "Add", "Relu", "Pad"):
            assert data == TensorProto.FLOAT16, node.name
        if node.op_type in ("ReduceMean", "Softmax", "Sigmoid", "ReduceL2", "Div", "MatMul", "Greater", "Pow"):
            assert data == TensorProto.FLOAT, node.name
    assert all(t.data_type == TensorProto.FLOAT16 for t in half.graph.initializer if t.name.startswith("k"))
