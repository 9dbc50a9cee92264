"""From a trained detector to `model.onnx`: folded, rounded to half, exported, with non-maximum suppression inside."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from engines.detection.suppression import PROPOSED
from schemas.detector_manifest import BOXES, KINDS, SCORES, Nms
from training.bundle.onnx_graph import OPSET, SMALL, store_half
from training.detection.networks.interface import DetectorNetwork
from training.network.trunk import ConvNorm

PHOTOS = "photos"
SURE_OF_KIND = 0.5  # a kind that is less probable is not said: the box is a `product`
_DENSE = PROPOSED


class DenseGraph(nn.Module):
    """What is traced: photos → every proposed box, before non-maximum suppression."""

    def __init__(self, network: DetectorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`uint8 [n, h, w, 3]` → boxes float32 `[n, p, 4]`, scores float32 `[n, p]`, kinds int64 `[n, p]`."""
        dense = self.network.dense(photos.permute(0, 3, 1, 2).float())
        if not dense.kinds.shape[2]:
            return dense.boxes, dense.scores, torch.zeros_like(dense.scores).long()
        best, which = dense.kinds.max(2)
        return dense.boxes, dense.scores, torch.where(best >= SURE_OF_KIND, which + 1, torch.zeros_like(which))


def deployable_detector(network: DetectorNetwork) -> DenseGraph:
    """A graph over a copy of `network` in evaluation mode, with folded batch norm. Its weights are rounded to half, but
    still float32 tensors."""
    served = copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format)
    for module in served.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    with torch.no_grad():
        for parameter in served.parameters():
            if parameter.numel() >= SMALL:
                parameter.copy_(parameter.half().float())
    return DenseGraph(served).eval()


def write_detector_graph(graph: DenseGraph, path: Path, side: int, nms: Nms) -> None:
    """Write a `deployable_detector` graph as ONNX for any number of photos; the outputs are those of the manifest."""
    sample = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    names = list(_DENSE.values())
    with warnings.catch_warnings():
        # the tracing exporter needs no further package; it warns about shapes, which are fixed here
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (sample,),
            str(path),
            input_names=[PHOTOS],
            output_names=names,
            dynamic_axes={name: {0: "n"} for name in (PHOTOS, *names)},
            opset_version=OPSET,
            dynamo=False,
        )
    store_half(path)
    onnx.save(with_suppression(onnx.load(path), nms), path)


def with_suppression(model: onnx.ModelProto, nms: Nms) -> onnx.ModelProto:
    """The graph with non-maximum suppression behind its proposals, in standard operators and for any batch.

    `NonMaxSuppression` gives a list of all photos' boxes. Their scores are scattered back into an array of zeros, of
    which `TopK` takes the best of each photo. So the result has a fixed shape, and does not depend on the order in
    which a library lists the boxes.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    boxes, scores, kinds = (_DENSE[name] for name in (BOXES, SCORES, KINDS))
    constants: dict[str, NDArray[Any]] = {
        "nms.most": np.array([nms.most], np.int64),
        "nms.overlap": np.array([nms.overlap], np.float32),
        "nms.score": np.array([nms.score], np.float32),
        "nms.photo_and_place": np.array([0, 2], np.int64),
        "nms.axis_1": np.array([1], np.int64),
        "nms.axis_2": np.array([2], np.int64),
        "nms.none": np.array(0, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    node = helper.make_node
    zero = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
    graph.node.extend(
        [
            node("Unsqueeze", [scores, "nms.axis_1"], ["nms.one_class"]),
            node(
                "NonMaxSuppression",
                [boxes, "nms.one_class", "nms.most", "nms.overlap", "nms.score"],
                ["nms.selected"],
            ),
            node("Gather", ["nms.selected", "nms.photo_and_place"], ["nms.rows"], axis=1),
            node("GatherND", [scores, "nms.rows"], ["nms.kept"]),
            node("Shape", [scores], ["nms.shape"]),
            node("ConstantOfShape", ["nms.shape"], ["nms.zeros"], value=zero),
            node("ScatterND", ["nms.zeros", "nms.rows", "nms.kept"], ["nms.sparse"]),
            node("TopK", ["nms.sparse", "nms.most"], [SCORES, "nms.places"], axis=1),
            node("Unsqueeze", ["nms.places", "nms.axis_2"], ["nms.column"]),
            node("Concat", ["nms.column"] * 4, ["nms.places_4"], axis=2),
            node("GatherElements", [boxes, "nms.places_4"], ["nms.boxes"], axis=1),
            node("GatherElements", [kinds, "nms.places"], ["nms.kinds"], axis=1),
            node("Greater", [SCORES, "nms.none"], ["nms.is_box"]),
            node("Cast", ["nms.is_box"], ["nms.is_box_int"], to=TensorProto.INT64),
            node("Mul", ["nms.kinds", "nms.is_box_int"], [KINDS]),
            node("Cast", ["nms.is_box"], ["nms.is_box_float"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["nms.is_box_float", "nms.axis_2"], ["nms.is_box_column"]),
            node("Mul", ["nms.boxes", "nms.is_box_column"], [BOXES]),
        ]
    )
    for number, one in enumerate(graph.node):
        one.name = one.name or f"{one.op_type}_{number}"
    del graph.output[:]
    value = helper.make_tensor_value_info
    graph.output.extend(
        [
            value(BOXES, TensorProto.FLOAT, ["n", nms.most, 4]),
            value(SCORES, TensorProto.FLOAT, ["n", nms.most]),
            value(KINDS, TensorProto.INT64, ["n", nms.most]),
        ]
    )
    onnx.checker.check_model(made)
    return made


@torch.inference_mode()
def run_detector(graph: DenseGraph, photos: NDArray[np.uint8], nms: Nms) -> dict[str, NDArray[np.generic]]:
    """The outputs of the exported graph for `photos uint8 [n, h, w, 3]`, computed by torch and torchvision: what the
    parity file holds, and what a run is evaluated with."""
    proposed = graph(torch.from_numpy(np.ascontiguousarray(photos)))
    found = [suppressed(*(part[place] for part in proposed), nms=nms) for place in range(len(photos))]
    names = (BOXES, SCORES, KINDS)
    return {name: np.stack([one[place] for one in found]) for place, name in enumerate(names)}


def suppressed(boxes: Tensor, scores: Tensor, kinds: Tensor, *, nms: Nms) -> tuple[NDArray[np.generic], ...]:
    """The boxes of one photo that stay, padded to `nms.most`: float32 `[most, 4]`, float32 `[most]`, int64 `[most]`."""
    from torchvision.ops import nms as suppress

    above = torch.nonzero(scores > nms.score)[:, 0]
    kept = above[suppress(boxes[above], scores[above], nms.overlap)][: nms.most]
    padded: tuple[NDArray[Any], ...] = (
        np.zeros((nms.most, 4), np.float32),
        np.zeros(nms.most, np.float32),
        np.zeros(nms.most, np.int64),
    )
    for array, values in zip(padded, (boxes, scores, kinds), strict=True):
        array[: len(kept)] = values[kept].numpy()
    return padded
