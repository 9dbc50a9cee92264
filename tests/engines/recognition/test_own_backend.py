"""A folder remembers the back end that it was built for."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.recognition import build_engine
from engines.recognition.own_backend import FILE, own_backend, remember_backend
from schemas.errors import BundleRefused


def test_an_engine_opens_on_the_back_end_of_its_folder(tiny: Path) -> None:
    assert own_backend(tiny) == "onnxruntime"
    assert own_backend(tiny / "nothing") == "onnxruntime"
    remember_backend(tiny, "openvino")
    assert own_backend(tiny) == "openvino"
    for asked, used in (("", "openvino"), ("onnxruntime", "onnxruntime")):
        engine = build_engine(tiny, asked, threads=1)
        assert engine.backend == used
        engine.close()


def test_a_damaged_memory_is_refused(tiny: Path) -> None:
    (tiny / FILE).write_text("{")
    with pytest.raises(BundleRefused, match=r"engine\.json.*delete this file"):
        own_backend(tiny)
