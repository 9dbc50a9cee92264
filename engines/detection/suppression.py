"""Non-maximum suppression beside the graph, for back ends whose library has none: TensorRT for RTX parses the operator
and cannot run it, and TensorRT proper gives its result in a shape that depends on the photos.

The graph is cut before the suppression, and numpy does the rest. The result is the one of the whole graph.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engines.detection.bundle import DetectorBundle
from engines.detection.parity import overlaps
from engines.files import write_file
from engines.recognition.bundles.bundle import check_graph_outputs
from engines.recognition.interface import Backend
from schemas.detector_manifest import BOXES, KINDS, SCORES, DetectorManifest, Nms

if TYPE_CHECKING:
    import onnx

PROPOSED = {BOXES: "dense.boxes", SCORES: "dense.scores", KINDS: "dense.kinds"}
"""The outputs of a graph that is cut before its suppression."""

CUT_FILE = "proposals.onnx"


@dataclass(frozen=True, eq=False)
class ProposalBundle:
    """A detector bundle as a back end sees it whose graph ends before the suppression. `model_path` is that graph."""

    folder: Path
    manifest: DetectorManifest
    model_path: Path

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the cut graph's outputs."""
        return tuple(PROPOSED.values())

    def check_graph_outputs(self, names: Collection[str]) -> None:
        """Raise BundleRefused unless the graph, whose outputs are called `names`, has the proposals."""
        check_graph_outputs(self.outputs, names)


def without_suppression(bundle: DetectorBundle, folder: Path) -> ProposalBundle:
    """Write the cut graph into `folder`, which is made, and return the bundle that has it.

    Raises:
        BundleRefused: the graph does not have the proposals under the names that an export gives them.
        ModuleNotFoundError: `onnx` is not installed.
    """
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    made = cut(onnx.load(bundle.model_path))
    path = folder / CUT_FILE
    write_file(path, made.SerializeToString(), shared=True)
    return ProposalBundle(bundle.folder, bundle.manifest, path)


def cut(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph up to its proposals: boxes float32 [n, p, 4], scores float32 [n, p], kinds int64 [n, p].

    Raises:
        BundleRefused: it has no such values.
    """
    import onnx
    from onnx import TensorProto, helper

    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph, wanted, nodes = made.graph, set(PROPOSED.values()), []
    check_graph_outputs(PROPOSED.values(), {name for node in graph.node for name in node.output})
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    kept = [tensor for tensor in graph.initializer if tensor.name in wanted]
    for part, values in ((graph.node, nodes[::-1]), (graph.initializer, kept)):
        del part[:]
        part.extend(values)
    del graph.value_info[:]
    del graph.output[:]
    value = helper.make_tensor_value_info
    graph.output.extend(
        [
            value(PROPOSED[BOXES], TensorProto.FLOAT, ["n", "p", 4]),
            value(PROPOSED[SCORES], TensorProto.FLOAT, ["n", "p"]),
            value(PROPOSED[KINDS], TensorProto.INT64, ["n", "p"]),
        ]
    )
    onnx.checker.check_model(made)
    return made


class Suppressing:
    """A back end that suppresses on the processor what `inner` proposes. As safe for threads as `inner` is."""

    def __init__(self, inner: Backend, nms: Nms) -> None:
        self._inner, self._nms = inner, nms

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """Compute the raw outputs of uint8 [n, h, w, 3]; see `Backend.run`."""
        return suppress_all(self._inner.run(photos), self._nms)

    def close(self) -> None:
        """See `Backend.close`."""
        self._inner.close()


def suppress_all(proposed: Mapping[str, npt.NDArray[np.generic]], nms: Nms) -> dict[str, npt.NDArray[np.generic]]:
    """What the whole graph gives, from the outputs of a cut one.

    Raises:
        BundleRefused: an output is missing.
    """
    check_graph_outputs(PROPOSED.values(), proposed)
    count = len(proposed[PROPOSED[SCORES]])
    made: dict[str, npt.NDArray[np.generic]] = {
        BOXES: np.zeros((count, nms.most, 4), np.float32),
        SCORES: np.zeros((count, nms.most), np.float32),
        KINDS: np.zeros((count, nms.most), np.int64),
    }
    for place in range(count):
        kept = keep(proposed[PROPOSED[BOXES]][place], proposed[PROPOSED[SCORES]][place], nms)
        for name, array in made.items():
            array[place, : len(kept)] = proposed[PROPOSED[name]][place][kept]
    return made


def keep(boxes: npt.NDArray[np.generic], scores: npt.NDArray[np.generic], nms: Nms) -> npt.NDArray[np.int64]:
    """The places of the boxes [p, 4] that stay, the most confident first: int64 [k], k <= most."""
    exact = scores.astype(np.float64)
    above = np.flatnonzero(exact > nms.score)
    waiting = above[np.argsort(-exact[above], kind="stable")]
    kept: list[int] = []
    while len(waiting) and len(kept) < nms.most:
        kept.append(int(waiting[0]))
        alike = overlaps(boxes[waiting[:1]], boxes[waiting[1:]])[0]
        waiting = waiting[1:][alike <= nms.overlap]
    return np.array(kept, np.int64)
