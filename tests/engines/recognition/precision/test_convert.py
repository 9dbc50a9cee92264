"""Precision in the graph: what changes, what stays, and that every back end opens the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from engines.recognition import build_engine, load_bundle
from engines.recognition.parity_gate import compare
from engines.recognition.precision import convert, write_bundle
from schemas.errors import ConfigError
from schemas.manifest import MODEL_FILE, load_manifest
from tests.engines.tiny_bundle import SIZE, raw_outputs, tiny_graph

PHOTOS = np.random.default_rng(2).integers(0, 256, (24, SIZE, SIZE, 3), dtype=np.uint8)


def deep_graph() -> onnx.ModelProto:
    """Ten convolutions with a residual sum, clips and a pad; then what `tiny_graph` has behind its only one."""
    model = tiny_graph()
    graph, rng = model.graph, np.random.default_rng(4)
    at = next(i for i, node in enumerate(graph.node) if node.op_type == "Relu")
    extra, last = [], "maps"
    for value, name in ((0.0, "low"), (6.0, "high")):
        graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads"))
    for i in range(9):
        kernel = (rng.normal(size=(8, 8, 3, 3)) / 8).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(kernel, f"k{i}"))
        graph.initializer.append(numpy_helper.from_array(rng.normal(size=8).astype(np.float32), f"b{i}"))
        extra += [
            helper.make_node("Pad", [last, "pads"], [f"p{i}"]),
            helper.make_node("Conv", [f"p{i}", f"k{i}", f"b{i}"], [f"c{i}"]),
            helper.make_node("Clip", [f"c{i}", "low", "high"], [f"a{i}"]),
            helper.make_node("Add", [f"a{i}", last], [f"s{i}"]),
        ]
        last = f"s{i}"
    graph.node[at].input[0] = last
    nodes = [*graph.node[:at], *extra, *graph.node[at:]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    onnx.checker.check_model(model)
    return model


def run(model: onnx.ModelProto, photos: np.ndarray = PHOTOS) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"photos": photos}), strict=True))


def types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    graph = inferred.graph
    found = {v.name: v.type.tensor_type.elem_type for v in [*graph.value_info, *graph.output, *graph.input]}
    return found | {t.name: t.data_type for t in graph.initializer}


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


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_bundle_of_that_precision_opens_everywhere(tiny: Path, tmp_path: Path, precision: str) -> None:
    out = tmp_path / "smaller"
    manifest = write_bundle(tiny, out, precision, PHOTOS)
    before = load_manifest(tiny)
    assert (manifest.precision, manifest.epoch) == (precision, before.epoch)
    assert manifest.model_version == f"{before.model_version}-{precision}"
    assert load_bundle(out).manifest == manifest
    expected = raw_outputs(out, PHOTOS)
    for backend in ("onnxruntime", "openvino"):
        engine = build_engine(out, backend, threads=1)
        got = engine.infer(PHOTOS)
        apart = np.bitwise_count(got.hash ^ expected["hash"]).sum()
        assert apart <= 0.03 * 256 * len(PHOTOS)
        engine.close()
    assert (tmp_path / "smaller" / MODEL_FILE).is_file()
    assert not list(tmp_path.glob("*.part"))


def test_a_bundle_is_written_whole_once_and_from_float(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    with pytest.raises(ConfigError, match="calibrated"):
        write_bundle(tiny, out, "int8")
    assert not list(tmp_path.glob("half*"))
    write_bundle(tiny, out, "fp16")
    with pytest.raises(ConfigError, match="there already"):
        write_bundle(tiny, out, "fp16")
    with pytest.raises(ConfigError, match="fp16 already"):
        write_bundle(out, tmp_path / "again", "fp16")
