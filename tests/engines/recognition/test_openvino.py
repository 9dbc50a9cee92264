"""What OpenVINO refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.recognition import build_engine
from schemas.errors import BundleRefused
from schemas.manifest import MODEL_FILE
from tests.engines.tiny_bundle import seal


def test_openvino_refuses_other_inputs_and_what_it_cannot_read(tiny: Path) -> None:
    seal(tiny, input="pictures")
    with pytest.raises(BundleRefused, match="input: the manifest says pictures"):
        build_engine(tiny, "openvino")
    (tiny / MODEL_FILE).write_bytes(b"no graph")
    seal(tiny)
    with pytest.raises(BundleRefused, match=r"not a graph|OpenVINO cannot load it"):
        build_engine(tiny, "openvino")
