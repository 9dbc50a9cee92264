from __future__ import annotations

import pytest

from engines.recognition.tensorrt.library import Library, load_library


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library("tensorrt_rtx")
