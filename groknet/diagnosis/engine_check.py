"""The check of `groknet doctor` for the engine's back end: which one runs, and what would be faster here."""

from __future__ import annotations

from pathlib import Path

from engines.recognition.contest import installed
from engines.recognition.own_backend import own_backend
from groknet.diagnosis.check import Check
from groknet.home.config import Loaded
from groknet.run.fastest import AUTO, Choice, kept
from schemas.errors import GroknetError

_GAIN = "on two cores with AVX-512 its INT8 was 1.7 times ONNX Runtime's FP32"
_SET_AUTO = 'set engine.backend = "auto"'
_SET_PHOTOS = "set engine.calibration_photos, so that auto tries INT8 too"


def engine_check(loaded: Loaded) -> Check:
    """Say which back end runs the bundle, and the remedy that makes it faster. It measures nothing, and reads what
    `engine.backend = "auto"` has measured."""
    folder = Path(loaded.config.engine.bundle)
    try:
        choice = kept(loaded, folder)
        backend = loaded.config.engine.backend or own_backend(folder)
    except GroknetError as error:
        return Check(check="engine", state="note", detail=str(error), remedy="see the check of the bundle")
    detail = _in_use(backend, choice)
    remedy = _faster(backend, choice, calibrated=bool(loaded.config.engine.calibration_photos))
    if not remedy:
        return Check(check="engine", state="ok", detail=detail)
    return Check(check="engine", state="note", detail=detail, remedy=remedy)


def _in_use(backend: str, choice: Choice | None) -> str:
    if choice is not None:
        return f"{backend}; measured here: {choice.reason}"
    return f"{backend}; not measured yet, the first start does it" if backend == AUTO else backend


def _faster(backend: str, choice: Choice | None, *, calibrated: bool) -> str:
    """What makes the engine faster, or nothing if nothing is known to."""
    if backend not in (AUTO, "onnxruntime"):
        return ""
    if not installed("openvino"):
        return f"pip install 'groknet[openvino]' ({_GAIN}), {_SET_AUTO}, and {_SET_PHOTOS}"
    if backend == AUTO:
        return "" if calibrated else f"{_SET_PHOTOS} ({_GAIN})"
    if choice is not None and choice.backend == backend:
        return ""
    return f"{_SET_AUTO}: openvino is installed ({_GAIN})"
