"""Measuring a bundle on a folder of labelled photos, with numpy and an engine, without torch.

`evaluate` gives the report that `groknet evaluate` prints. `measure` also gives the predictions behind it, for the HTML
report. Calibration uses the same `predict` and `metrics`, so that the same pixels go through the same engine when a
bundle is calibrated, measured and served.
"""

from training.evaluation.evaluate import evaluate, measure
from training.evaluation.folder import Predicted, predict
from training.evaluation.html import write_html

__all__ = ["Predicted", "evaluate", "measure", "predict", "write_html"]
