"""Measuring a bundle on a folder of labelled photos: numpy and the engine, no torch.

`evaluate` is what `groknet evaluate` prints; `predict` and `metrics` are shared with calibration, so that what is
calibrated, what is measured and what is served come from the same pixels through the same engine.
"""

from training.evaluation.evaluate import evaluate
from training.evaluation.folder import Predicted, predict

__all__ = ["Predicted", "evaluate", "predict"]
