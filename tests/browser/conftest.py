"""A real browser on the real page of a real service; where no browser can be had, the tests say so and are skipped.

`GROKNET_REQUIRE_BROWSER=1`, for a gate: they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.browser.chromium import BrowserMissing
from tests.browser.driver import Visitor, visitor
from tests.workers.search.rig import Rig, photo, rig

LISTINGS = 40


@pytest.fixture(scope="module")
def visit() -> Iterator[Visitor]:
    """The browser, for one module: Playwright's event loop must not outlive it, since other tests run their own."""
    try:
        with visitor() as made:
            yield made
    except BrowserMissing as error:
        if os.environ.get("GROKNET_REQUIRE_BROWSER") == "1":
            pytest.fail(f"a browser is required: {error}")
        pytest.skip(f"no browser: {error}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Forty listings of two categories in a service that is ready."""
    with rig(tmp_path_factory.mktemp("page")) as made:
        for i in range(LISTINGS):
            title = f"Thing {i}" if i % 4 else None
            made.add(f"shop/{i}", {"front": photo(i, 160)}, title=title, category="mugs" if i % 2 else "vases")
        made.indexed(LISTINGS)
        yield made
