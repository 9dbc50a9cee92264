"""A whole bundle in a few kilobytes: a real ONNX graph with two heads, an embedding and a packed hash."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from schemas.manifest import (
    CARD_FILE,
    MODEL_FILE,
    PARITY_FILE,
    Applicability,
    Calibration,
    Domain,
    Embedding,
    Head,
    Label,
    Manifest,
    Parity,
    Preprocess,
    Training,
    sha256_file,
    write_manifest,
)

SIZE, DIM = 16, 16
COLOURS = ("red", "green", "blue")
WORDS = ("cosy", "new", "old", "soft")


def labels(values: tuple[str, ...]) -> list[Label]:
    return [Label(id=value, index=i, value=value) for i, value in enumerate(values)]


HEADS = [
    Head(
        id="colour",
        kind="softmax",
        column="colour",
        datasets=["tiny"],
        output="colour",
        labels=labels(COLOURS),
        calibration=Calibration(x=[0.2, 0.5, 0.9], y=[0.0, 0.4, 1.0]),
        threshold=0.5,
    ),
    Head(
        id="words",
        kind="multi_label",
        column="words",
        datasets=["tiny"],
        output="words",
        labels=labels(WORDS),
        class_calibration={"old": Calibration(x=[0.0, 1.0], y=[0.25, 0.75])},
        threshold=0.6,
    ),
]


def tiny_graph(seed: int = 0) -> onnx.ModelProto:
    """uint8 photos → scaled, convolved, pooled → two heads, unit embedding, 256 sign bits packed by weights."""
    rng = np.random.default_rng(seed)
    weights = {
        "kernel": rng.normal(size=(8, 3, 3, 3)),
        "to_colour": rng.normal(size=(8, len(COLOURS))),
        "to_words": rng.normal(size=(8, len(WORDS))),
        "to_embedding": rng.normal(size=(8, DIM)),
        "to_bits": rng.normal(size=(DIM, 256)),
        "scale": np.float32(1 / 255),
        "zero": np.float32(0),
        "powers": 2.0 ** np.arange(7, -1, -1),
    }
    stored = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    stored.append(numpy_helper.from_array(np.array([-1, 32, 8], np.int64), "octets"))
    stored.append(numpy_helper.from_array(np.array([2], np.int64), "last"))
    stored.append(numpy_helper.from_array(np.array([2, 3], np.int64), "space"))
    stored.append(numpy_helper.from_array(np.array([1], np.int64), "channels"))
    node = helper.make_node
    nodes = [
        node("Cast", ["photos"], ["float"], to=TensorProto.FLOAT),
        node("Mul", ["float", "scale"], ["unit"]),
        node("Transpose", ["unit"], ["nchw"], perm=[0, 3, 1, 2]),
        node("Conv", ["nchw", "kernel"], ["maps"]),
        node("Relu", ["maps"], ["active"]),
        node("ReduceMean", ["active", "space"], ["pooled"], keepdims=0),
        node("MatMul", ["pooled", "to_colour"], ["colour_logits"]),
        node("Softmax", ["colour_logits"], ["colour"], axis=1),
        node("MatMul", ["pooled", "to_words"], ["word_logits"]),
        node("Sigmoid", ["word_logits"], ["words"]),
        node("MatMul", ["pooled", "to_embedding"], ["projected"]),
        node("ReduceL2", ["projected", "channels"], ["length"], keepdims=1),
        node("Div", ["projected", "length"], ["embedding"]),  # unguarded: a black photo gives not-a-number
        node("MatMul", ["embedding", "to_bits"], ["bit_logits"]),
        node("Greater", ["bit_logits", "zero"], ["signs"]),
        node("Cast", ["signs"], ["ones"], to=TensorProto.FLOAT),
        node("Reshape", ["ones", "octets"], ["grouped"]),
        node("Mul", ["grouped", "powers"], ["weighted"]),
        node("ReduceSum", ["weighted", "last"], ["summed"], keepdims=0),
        node("Cast", ["summed"], ["hash"], to=TensorProto.UINT8),
    ]
    value = helper.make_tensor_value_info
    outputs = [
        value("colour", TensorProto.FLOAT, ["n", len(COLOURS)]),
        value("words", TensorProto.FLOAT, ["n", len(WORDS)]),
        value("embedding", TensorProto.FLOAT, ["n", DIM]),
        value("hash", TensorProto.UINT8, ["n", 32]),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [value("photos", TensorProto.UINT8, ["n", SIZE, SIZE, 3])], outputs, stored
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    return model


DOMAINS = [Domain(id="shop", threshold=0.5), Domain(id="street", threshold=0.45)]


def applying_graph(seed: int = 0) -> onnx.ModelProto:
    """`tiny_graph` with p(applies) of two domains; the head `colour` is multiplied by that of the first."""
    model = tiny_graph(seed)
    graph, rng = model.graph, np.random.default_rng(seed + 100)
    for node in graph.node:
        node.output[:] = ["colour_alone" if name == "colour" else name for name in node.output]
    weight, bias = rng.normal(size=(8, 2)) * 4, np.array([-0.8, 0.4])
    graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), "to_domains"))
    graph.initializer.append(numpy_helper.from_array(bias.astype(np.float32), "domain_bias"))
    graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    graph.node.extend(
        [
            helper.make_node("MatMul", ["pooled", "to_domains"], ["domain_logits"]),
            helper.make_node("Add", ["domain_logits", "domain_bias"], ["domain_odds"]),
            helper.make_node("Sigmoid", ["domain_odds"], ["applicability"]),
            helper.make_node("Gather", ["applicability", "first"], ["shop_applies"], axis=1),
            helper.make_node("Mul", ["colour_alone", "shop_applies"], ["colour"]),
        ]
    )
    graph.output.append(helper.make_tensor_value_info("applicability", TensorProto.FLOAT, ["n", 2]))
    return model


def write_applying_bundle(folder: Path, **fields: object) -> Manifest:
    """A tiny bundle with applicability: `colour` is for the domain `shop`, `words` for every photo."""
    heads = [msgspec.structs.replace(HEADS[0], domain="shop", threshold=0.1), HEADS[1]]
    values = {"heads": heads, "applicability": Applicability(domains=DOMAINS)}
    return write_tiny_bundle(folder, applying_graph(), **(values | fields))


def raw_outputs(folder: Path, photos: np.ndarray, *, optimised: bool = True) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"photos": photos}), strict=True))


def write_tiny_bundle(folder: Path, graph: onnx.ModelProto | None = None, **fields: object) -> Manifest:
    """Write the bundle, its parity photos with the answers of its own graph; `fields` replace the manifest's."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(graph or tiny_graph(), str(folder / MODEL_FILE))
    photos = np.random.default_rng(1).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    np.savez(folder / PARITY_FILE, photos=photos, **raw_outputs(folder, photos))
    (folder / CARD_FILE).write_text("# tiny\n")
    return seal(folder, **fields)


def seal(folder: Path, **fields: object) -> Manifest:
    """Write a manifest whose checksums fit the files as they are now."""
    values: dict[str, object] = {
        "name": "tiny",
        "model_version": "tiny-1",
        "epoch": "0123456789ab",
        "created": "2026-01-01",
        "preprocess": Preprocess(width=SIZE, height=SIZE),
        "heads": HEADS,
        "top_k": 3,
        "embedding": Embedding(dim=DIM),
        "parity": Parity(probabilities=1e-4, embedding=1e-4, hash_bits=0),
        "training": Training(recipe="none", command="none"),
        "files": {name: sha256_file(folder / name) for name in (MODEL_FILE, PARITY_FILE, CARD_FILE)},
    }
    manifest = Manifest(**(values | fields))
    write_manifest(folder, manifest)
    return manifest
