"""Back ends under contract: the embedded ones always; a real one adds a parameter here and passes the same suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.backends import StoreBackend, StreamBackend


@pytest.fixture(params=["embedded"])
def stream_backend(request: pytest.FixtureRequest, tmp_path: Path) -> StreamBackend:
    assert request.param == "embedded"
    url = f"sqlite://{tmp_path}/stream.db"
    return StreamBackend(url=url, short_session_url=f"{url}?lease_s=0.5", short_session_s=0.5)


@pytest.fixture(params=["embedded"])
def store_backend(request: pytest.FixtureRequest, tmp_path: Path) -> StoreBackend:
    assert request.param == "embedded"
    return StoreBackend(url=f"sqlite://{tmp_path}/store.db")
