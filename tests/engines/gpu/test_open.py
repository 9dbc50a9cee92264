"""Opening a GPU where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.gpu.open import open_driver
from schemas.errors import ConfigError


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")
def test_a_machine_without_a_gpu_is_told_so() -> None:
    with pytest.raises(ConfigError, match=r"no GPU can be used here \(cuda-bindings: .*; pycuda: .*\)"):
        open_driver()
