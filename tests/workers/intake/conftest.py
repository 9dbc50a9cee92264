"""The loopback server lies beside its users; tests are imported by path, so its folder has to be named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from loopback import Loopback, answer, serving
from photo_hosts import PHOTO


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as server:
        server.scripts["/ok"] = answer(200, PHOTO)
        yield server
