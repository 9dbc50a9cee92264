"""Precision in the graph: what changes, and what stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.recognition.parity_gate import compare
from engines.recognition.precision import convert
from schemas.errors import ConfigError
from schemas.manifest import load_manifest
from tests.engines.recognition.precision.graphs import PHOTOS, deep_graph, run
from tests.engines.tiny_bundle import tiny_graph


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_inputs_outputs_and_the_given_model_stay(precision: str) -> None:
    model = deep_graph()
    before = model.SerializeToString()
    converted = convert(model, precision, PHOTOS)
    assert model.SerializeToString() == before
    for side in ("input", "output"):
        mine, theirs = getattr(converted.graph, side), getattr(model.graph, side)
        assert [(v.name, v.type.tensor_type.elem_type) for v in mine] == [
            (v.name, v.type.tensor_type.elem_type) for v in theirs
        ]
    assert {opset.domain for opset in converted.opset_import} <= {"", "ai.onnx"}
    names = [node.name for node in converted.graph.node]
    assert len(set(names)) == len(names)


def test_fp32_folds_half_weights_and_computes_the_same() -> None:
    model = tiny_graph()
    graph = model.graph
    kernel = next(t for t in graph.initializer if t.name == "kernel")
    half = numpy_helper.to_array(kernel).astype(np.float16)
    kernel.CopyFrom(numpy_helper.from_array(half, "kernel.half"))
    graph.node.insert(0, helper.make_node("Cast", ["kernel.half"], ["kernel"], to=TensorProto.FLOAT))
    folded = convert(model, "fp32", None)
    assert not [n for n in folded.graph.node if n.op_type == "Cast" and n.input[0] == "kernel.half"]
    for name, values in run(model).items():
        np.testing.assert_allclose(run(folded)[name], values, atol=1e-6)


@pytest.mark.parametrize(("precision", "flips"), [("fp16", 0.005), ("int8", 0.05)])
def test_the_network_is_still_the_network(precision: str, flips: float, tiny: Path) -> None:
    model = deep_graph()
    got = compare(load_manifest(tiny), run(model), run(convert(model, precision, PHOTOS)))
    assert got.hash_flips <= flips
    assert got.label_agreement >= 1 - 4 * flips


def test_what_cannot_be_converted_is_said() -> None:
    with pytest.raises(ConfigError, match="fp8"):
        convert(tiny_graph(), "fp8", None)  # type: ignore[arg-type]
    for photos in (None, PHOTOS[:0]):
        with pytest.raises(ConfigError, match="calibrated on photos"):
            convert(tiny_graph(), "int8", photos)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "flat",
        [value("x", TensorProto.FLOAT, ["n"])],
        [value("y", TensorProto.FLOAT, ["n"])],
    )
    flat = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ConfigError, match="no convolution"):
        convert(flat, "fp16", None)
