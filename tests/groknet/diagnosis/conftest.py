from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.run.open_back_ends import open_stream
from tests.groknet.diagnosis.flow import Flow


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    home = Home(tmp_path / "home").make()
    with open_stream(load_config(home), "test") as stream:
        made = Flow(home, stream)
        yield made
        made.close()
