"""Tests with the mark `prometheus` are skipped, and named, where Debian's package prometheus is not installed."""

from __future__ import annotations

import shutil

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs promtool or prometheus on a machine without them."""
    if shutil.which("promtool") and shutil.which("prometheus"):
        return
    skip = pytest.mark.skip(reason="not run: prometheus is not installed; `make operations` installs it")
    for item in items:
        if item.get_closest_marker("prometheus"):
            item.add_marker(skip)
