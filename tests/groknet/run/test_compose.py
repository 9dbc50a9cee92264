"""A search service that cannot begin holds nothing: what was opened before the failing step is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from groknet.home.config import Loaded, load_config
from groknet.home.paths import Home
from groknet.run import compose
from groknet.run.compose import _SearchLife
from groknet.run.process import Process
from schemas.errors import BundleRefused, GroknetError
from tests.detectors import bright_detector
from tests.engines.tiny_bundle import write_tiny_bundle
from workers.stores import Store, build_store


@pytest.fixture
def home(tmp_path: Path) -> Home:
    write_tiny_bundle(tmp_path / "plain")
    return Home(tmp_path).make()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = build_store(f"sqlite://{tmp_path}/store.db")
    yield opened
    opened.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the life opens, in order. The real functions open it."""
    found: list[Any] = []

    def noted(name: str, what: Callable[[Any], Any]) -> None:
        real = getattr(compose, name)

        def wrapped(*given: Any) -> Any:
            result = real(*given)
            found.append(what(result))
            return result

        monkeypatch.setattr(compose, name, wrapped)

    noted("open_engine", lambda engine: engine)
    noted("query_looking", lambda looking: looking and looking.detector)
    return found


def begin(home: Home, store: Store, settings: str) -> _SearchLife:
    """Begin without waiting for an indexer."""
    home.config_file.write_text(f'[engine]\nbundle = "plain"\n{settings}')
    loaded: Loaded = load_config(home, {})
    return _SearchLife.begin(loaded, Process(home, "search", threading.Event(), "search"), store, lambda: False)


def closed(one: Any) -> bool:
    """Whether an engine or a detector is closed. A closed one refuses to run, and names that."""
    try:
        one.warm_up()
    except RuntimeError as error:
        return "closed" in str(error)
    return False


def test_an_engine_is_closed_if_the_detector_is_refused(home: Home, store: Store, opened: list[Any]) -> None:
    with pytest.raises(BundleRefused, match="a detector bundle is a folder"):
        begin(home, store, '[detect]\nbundle = "nowhere"')
    assert [closed(one) for one in opened] == [True]


@pytest.mark.slow
def test_engine_and_detector_are_closed_if_a_later_step_fails(home: Home, store: Store, opened: list[Any]) -> None:
    """The file of kept searches cannot be opened, because there is a folder of its name."""
    bright_detector(home.root / "finder")
    life = begin(home, store, '[detect]\nbundle = "finder"')
    assert [closed(one) for one in opened] == [False, False]
    life.close()
    (home.root / "kept.db").mkdir()
    with pytest.raises(GroknetError, match="kept"):
        begin(home, store, '[detect]\nbundle = "finder"\n[search]\nkeep = "hashes"')
    assert [closed(one) for one in opened] == [True, True, True, True]
