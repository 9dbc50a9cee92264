"""Says which version of groknet and of Python a process runs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from workers.watching import metrics


def show_build() -> None:
    """Set `groknet_build_info` for this process."""
    try:
        ours = version("groknet")
    except PackageNotFoundError:  # run from a folder without an installation
        ours = "unknown"
    metrics.BUILD_INFO.labels(ours, platform.python_version()).set(1)
