"""The graph that a GPU gets."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from engines.recognition import load_bundle
from engines.recognition.gpu_graph import prepare
from engines.recognition.outputs.calibration import Calibrator
from engines.recognition.outputs.tops import INDICES, VALUES, is_cut, widen
from groknet.home.config import demo_bundle


def run_onnx(model: onnx.ModelProto, photos: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"photos": photos}), strict=True))


@pytest.mark.slow
def test_the_prepared_graph_says_the_same() -> None:
    """Cast first and cut heads change nothing of what a prediction is made of."""
    bundle = load_bundle(demo_bundle())
    manifest = bundle.manifest
    model = onnx.load(bundle.model_path)
    whole, cut = run_onnx(model, bundle.photos), run_onnx(prepare(model, manifest), bundle.photos)
    for name, array in widen(cut, whole).items():
        np.testing.assert_allclose(array.astype(float), whole[name].astype(float), atol=1e-6)
    for head in manifest.heads:
        if not is_cut(head, manifest.top_k):
            continue
        calibrator = Calibrator(head, manifest.top_k)
        theirs, ours = (
            calibrator.predict(whole[head.output]),
            calibrator.predict_top(cut[head.output + VALUES], cut[head.output + INDICES]),
        )
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-6)
