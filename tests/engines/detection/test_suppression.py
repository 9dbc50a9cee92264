"""Suppression in numpy: the graph's own boxes, from the same graph cut before its suppression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from engines.detection.bundle import load_detector_bundle
from engines.detection.suppression import PROPOSED, Suppressing, cut, keep, suppress_all, without_suppression
from schemas.detector_manifest import BOXES, KINDS, SCORES, Nms
from schemas.errors import BundleRefused
from tests.detectors import bright_detector, scenes


class OnnxProposals:
    """The cut graph, run by ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        self._session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(self, photos: np.ndarray) -> dict[str, np.ndarray]:
        names = list(PROPOSED.values())
        return dict(zip(names, self._session.run(names, {"photos": photos}), strict=True))

    def close(self) -> None: ...


def test_the_cut_graph_and_numpy_give_what_the_whole_graph_gives(tmp_path: Path) -> None:
    bright_detector(tmp_path / "bundle")
    bundle = load_detector_bundle(tmp_path / "bundle")
    proposals = without_suppression(bundle, tmp_path / "cut")
    got = Suppressing(OnnxProposals(proposals.model_path), bundle.manifest.nms).run(scenes())
    for name in (BOXES, SCORES, KINDS):
        assert got[name].dtype == bundle.expected[name].dtype
        assert np.allclose(got[name], bundle.expected[name], atol=1e-5)


@pytest.mark.parametrize(("score", "overlap", "most"), [(0.3, 0.4, 20), (0.0, 0.9, 200), (0.9, 0.3, 3)])
def test_numpy_keeps_the_boxes_that_torchvision_keeps(score: float, overlap: float, most: int) -> None:
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops")
    rng = np.random.default_rng(7)
    low = rng.uniform(0, 0.6, (120, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, low.shape)], axis=1).astype(np.float32)
    scores = rng.uniform(0, 1, 120).astype(np.float32)
    above = np.flatnonzero(scores > score)
    kept = ops.nms(torch.from_numpy(boxes[above]), torch.from_numpy(scores[above]), overlap).numpy()
    assert keep(boxes, scores, Nms(score=score, overlap=overlap, most=most)).tolist() == above[kept][:most].tolist()


def test_a_graph_without_proposals_is_refused(tmp_path: Path) -> None:
    from onnx import helper

    with pytest.raises(BundleRefused, match=r"dense\.boxes"):
        cut(helper.make_model(helper.make_graph([], "empty", [], [])))
    with pytest.raises(BundleRefused, match=r"dense\.boxes"):
        suppress_all({}, Nms())
