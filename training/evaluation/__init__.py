"""Measuring a bundle on a folder of labelled photos: numpy and the engine, no torch.

`evaluate` is what `groknet evaluate` prints, `measure` also what it was made of, for the HTML report; `predict` and
`metrics` are shared with calibration, so that what is calibrated, what is measured and what is served come from the
same pixels through the same engine.
"""

from training.evaluation.evaluate import evaluate, measure
from training.evaluation.folder import Predicted, predict
from training.evaluation.html import write_html

__all__ = ["Predicted", "evaluate", "measure", "predict", "write_html"]
