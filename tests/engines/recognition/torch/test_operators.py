"""Each of torch's operators against ONNX Runtime's."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engines.recognition.torch.graph import Graph


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
