"""Every back end that needs no GPU: the same answers, the same refusals; torch's operators against ONNX Runtime's."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engines.recognition import build_engine
from engines.recognition.precision import write_bundle
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import MODEL_FILE, PARITY_FILE, Parity
from tests.engines.tiny_bundle import HEADS, SIZE, seal, tiny_graph

OTHERS = ("openvino", "torch")
PHOTOS = np.random.default_rng(7).integers(0, 256, (9, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("backend", OTHERS)
def test_answers_are_those_of_onnx_runtime(tiny: Path, backend: str) -> None:
    expected = build_engine(tiny, threads=1).infer(PHOTOS)
    engine = build_engine(tiny, backend, threads=1, max_batch=9)
    engine.warm_up()
    got = engine.infer(PHOTOS)
    np.testing.assert_allclose(got.embedding, expected.embedding, atol=1e-5)
    np.testing.assert_array_equal(got.hash, expected.hash)
    for head in HEADS:
        np.testing.assert_array_equal(got.heads[head.id].labels, expected.heads[head.id].labels)
        np.testing.assert_allclose(got.heads[head.id].probabilities, expected.heads[head.id].probabilities, atol=1e-5)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.infer(PHOTOS)


@pytest.mark.parametrize("backend", OTHERS)
def test_threads_share_an_engine_and_each_gets_its_own_answers(tiny: Path, backend: str) -> None:
    engine = build_engine(tiny, backend, threads=1)
    batches = [np.roll(PHOTOS, i, axis=0)[: 1 + i % 5] for i in range(24)]
    alone = [engine.infer(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(engine.infer, batches))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.hash, b.hash)
        np.testing.assert_allclose(a.embedding, b.embedding, atol=1e-6)


@pytest.mark.parametrize("backend", OTHERS)
def test_refuses_what_onnx_runtime_refuses(tiny: Path, backend: str) -> None:
    with np.load(tiny / PARITY_FILE) as file:
        arrays = dict(file)
    np.savez(tiny / PARITY_FILE, **(arrays | {"embedding": -arrays["embedding"]}))
    seal(tiny)
    with pytest.raises(BundleRefused, match=r"parity\.embedding: differs"):
        build_engine(tiny, backend)
    np.savez(tiny / PARITY_FILE, **arrays)
    model = tiny_graph()
    model.graph.output.remove(next(value for value in model.graph.output if value.name == "words"))
    onnx.save(model, tiny / MODEL_FILE)
    seal(tiny)
    with pytest.raises(BundleRefused, match="words: no such output"):
        build_engine(tiny, backend)


def test_openvino_refuses_other_inputs_and_what_it_cannot_read(tiny: Path) -> None:
    seal(tiny, input="pictures")
    with pytest.raises(BundleRefused, match="input: the manifest says pictures"):
        build_engine(tiny, "openvino")
    (tiny / MODEL_FILE).write_bytes(b"no graph")
    seal(tiny)
    with pytest.raises(BundleRefused, match="OpenVINO cannot load it"):
        build_engine(tiny, "openvino")


def test_torch_computes_a_half_bundle_in_bfloat16_and_names_what_it_has_not(tiny: Path, tmp_path: Path) -> None:
    write_bundle(tiny, tmp_path / "half", "fp16")
    build_engine(tmp_path / "half", "torch", threads=1).close()  # the gate has judged it
    seal(tmp_path / "half", parity=Parity(embedding=1e-4, probabilities=1e-4, hash_bits=0))
    with pytest.raises(BundleRefused, match="parity"):  # and eight bits of mantissa are not float's
        build_engine(tmp_path / "half", "torch", threads=1)
    write_bundle(tiny, tmp_path / "int8", "int8", PHOTOS)
    with pytest.raises(BundleRefused, match="the torch back end has no DequantizeLinear, QuantizeLinear"):
        build_engine(tmp_path / "int8", "torch", threads=1)


@pytest.mark.parametrize(("backend", "extra"), [("openvino", "openvino"), ("torch", "train")])
def test_a_package_that_is_not_there_is_named_with_the_remedy(
    tiny: Path, backend: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith(f"engines.recognition.{backend}")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, backend, None)
    with pytest.raises(ConfigError, match=rf"{backend} is not installed; pip install 'groknet\[{extra}\]'"):
        build_engine(tiny, backend)


def f(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


X = f(2, 4, 7, 9)
# operator, inputs behind the first, attributes; the first input is X or what is given under `x`
CASES = [
    ("Conv", [f(6, 4, 3, 3), f(6)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", [f(4, 1, 3, 3)], {"pads": [0, 1, 1, 0], "group": 4}),
    ("Conv", [f(6, 4, 3, 3)], {"dilations": [2, 1]}),
    ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("GlobalAveragePool", [], {}),
    ("Pad", [ints(0, 0, 1, 0, 0, 0, 2, 1), np.float32(3)], {}),
    ("Clip", [np.float32(-0.5), np.float32(0.5)], {}),
    ("Clip", [np.float32(0.1)], {}),
    ("Gemm", [f(5, 3), f(3)], {"alpha": 0.5, "beta": 2.0, "x": f(2, 5)}),
    ("Gemm", [f(3, 5)], {"transB": 1, "x": f(2, 5)}),
    ("Gemm", [f(2, 3)], {"transA": 1, "x": f(2, 5)}),
    ("MatMul", [f(9, 2)], {}),
    ("ReduceMean", [ints(2, 3)], {"keepdims": 0}),
    ("ReduceMean", [], {}),
    ("ReduceSum", [ints(1)], {"keepdims": 1}),
    ("ReduceL2", [ints(-1)], {"keepdims": 1}),
    ("Softmax", [], {"axis": 1}),
    ("Softmax", [], {}),
    ("Sigmoid", [], {}),
    ("Relu", [], {}),
    ("Pow", [np.float32(2)], {}),
    ("Reciprocal", [], {}),
    ("Sqrt", [], {"x": np.abs(X)}),
    ("Add", [f(4, 1, 1)], {}),
    ("Max", [f(9)], {}),
    ("Min", [np.float32(0.2)], {}),
    ("Sub", [f(9)], {}),
    ("Mul", [f(2, 1, 7, 1)], {}),
    ("Div", [np.abs(f(9)) + 1], {}),
    ("Greater", [np.float32(0)], {}),
    ("Reshape", [ints(0, -1, 9)], {}),
    ("Flatten", [], {"axis": 2}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Expand", [ints(3, 2, 1, 1, 9)], {"x": f(2, 4, 7, 9)}),
    ("Concat", [f(2, 3, 7, 9)], {"axis": 1}),
    ("Cast", [], {"to": TensorProto.UINT8, "x": np.abs(X) * 50}),
    ("Cast", [], {"to": TensorProto.INT64}),
    ("Identity", [], {}),
]


@pytest.mark.parametrize(
    ("operator", "constants", "attributes"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_torch_operators_are_those_of_onnx_runtime(
    operator: str, constants: list[np.ndarray], attributes: dict[str, object]
) -> None:

    from engines.recognition.torch.graph import Graph

    attributes = dict(attributes)
    x = np.asarray(attributes.pop("x", X))
    names = [f"c{i}" for i in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *names], ["y"], **attributes)],
        operator,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in zip(names, constants, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(["y"], {"x": x})
    with torch.inference_mode():
        (got,) = Graph(model, ["y"])(torch.from_numpy(x))
    assert got.numpy().dtype == expected.dtype
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-5)
