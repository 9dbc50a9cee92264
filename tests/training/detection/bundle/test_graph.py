"""The exported graph: suppression in ONNX against torchvision's, for any batch and in any order of boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from schemas.detector_manifest import BOXES, KINDS, SCORES, Nms
from training.detection.bundle.graph import DenseGraph, run_detector, write_detector_graph
from training.detection.networks.interface import Dense, DetectorNetwork

SIDE, PROPOSALS = 32, 60


class Scattered(DetectorNetwork):
    """Sixty boxes that overlap. The photo's mean brightness decides their scores, so that each photo has its own."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(4)
        low = rng.uniform(0, 0.6, (PROPOSALS, 2))
        self.boxes = torch.from_numpy(np.concatenate([low, low + rng.uniform(0.1, 0.4, low.shape)], 1)).float()
        self.phase = torch.from_numpy(rng.uniform(0, 6, PROPOSALS)).float()

    def dense(self, photos: torch.Tensor) -> Dense:
        mean = photos.mean((1, 2, 3))[:, None]
        scores = 0.5 + 0.5 * torch.sin(self.phase * (1 + mean / 40))
        kinds = torch.stack((scores * 0.6, 1 - scores), 2)
        return Dense(self.boxes[None] + 0 * scores[..., None], scores, kinds)


@pytest.fixture(scope="module", params=[(0.3, 0.4, 20), (0.0, 0.9, 60), (0.95, 0.3, 7)])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[DenseGraph, Nms, Path]:
    score, overlap, most = request.param
    nms, path = Nms(score=score, overlap=overlap, most=most), tmp_path_factory.mktemp("graph") / "model.onnx"
    graph = DenseGraph(Scattered()).eval()
    write_detector_graph(graph, path, SIDE, nms)
    return graph, nms, path


def photos(count: int) -> np.ndarray:
    levels = np.linspace(0, 250, count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, SIDE, SIDE, 3)).copy()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_onnx_keeps_the_boxes_that_torchvision_keeps(made: tuple[DenseGraph, Nms, Path], count: int) -> None:
    graph, nms, path = made
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = (BOXES, SCORES, KINDS)
    got = dict(zip(names, session.run(list(names), {"photos": photos(count)}), strict=True))
    expected = run_detector(graph, photos(count), nms)
    for name in names:
        assert got[name].shape == expected[name].shape
        assert got[name].dtype == expected[name].dtype
        assert np.allclose(got[name], expected[name], atol=1e-5)
    assert (got[SCORES] > 0).any()


def test_openvino_keeps_the_same_boxes(made: tuple[DenseGraph, Nms, Path]) -> None:
    ov = pytest.importorskip("openvino")
    graph, nms, path = made
    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1})
    expected = run_detector(graph, photos(3), nms)
    got = compiled({"photos": photos(3)})
    for name in (BOXES, SCORES, KINDS):
        assert np.allclose(got[name], expected[name], atol=1e-5)


def test_no_photo_has_a_box_above_an_impossible_score(tmp_path: Path) -> None:
    nms = Nms(score=1.0, overlap=0.5, most=5)
    write_detector_graph(DenseGraph(Scattered()).eval(), tmp_path / "model.onnx", SIDE, nms)
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    boxes, scores, kinds = session.run([BOXES, SCORES, KINDS], {"photos": photos(2)})
    assert boxes.shape == (2, 5, 4)
    assert not boxes.any()
    assert not scores.any()
    assert not kinds.any()
