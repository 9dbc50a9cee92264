"""A trunk in INT8, in the form that every parser takes."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from engines.recognition.precision import convert
from tests.engines.recognition.precision.graphs import PHOTOS, deep_graph


def test_int8_is_in_the_form_that_all_parsers_take() -> None:
    """Symmetric, signed, zero point 0; biases float; nothing behind the trunk, not the first of ten convolutions."""
    quantised = convert(deep_graph(), "int8", PHOTOS)
    graph = quantised.graph
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    quantised_ones = [n for n in convolutions if n.input[1] in made_by]
    assert len(convolutions) == 10
    assert [n in quantised_ones for n in convolutions] == [False] + [True] * 9
    for node in quantised_ones:
        assert [made_by[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        assert weights[node.input[2]].dtype == np.float32
        scales = weights[made_by[node.input[1]].input[1]]
        assert scales.shape == (8,)  # one a channel
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = weights[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
        if node.op_type in ("MatMul", "Softmax", "ReduceMean", "ReduceL2"):
            assert all(made_by[n].op_type != "DequantizeLinear" for n in node.input if n in made_by)


def test_weights_of_seven_bits() -> None:
    """The same scales times two: every weight is within ±64, and each convolution's largest is there."""
    graph = convert(deep_graph(), "int8", PHOTOS, seven_bits=True).graph
    made_by = {name: node for node in graph.node for name in node.output}
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found = [
        weights[made_by[node.input[1]].input[0]]
        for node in graph.node
        if node.op_type == "Conv" and node.input[1] in made_by
    ]
    assert len(found) == 9
    assert [int(np.abs(one.astype(np.int16)).max()) for one in found] == [64] * 9
