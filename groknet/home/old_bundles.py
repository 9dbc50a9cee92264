"""Removes joined bundles of a home, HOME/bundles/EPOCH-DIGEST, that nothing names any more."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from groknet.home.paths import Home

_log = logging.getLogger(__name__)
_JOINED = re.compile("(?P<epoch>[0-9a-f]{12})-[0-9a-f]{12}")
UNUSED_S = 86_400.0
"""Seconds since a folder was made or last chosen. Until then a worker or command may start with it."""


def remove_old_bundles(home: Home, named: Collection[Path], epochs: Collection[str]) -> list[Path]:
    """Remove the joined bundles of a home, and return their folders. Other folders of HOME/bundles are left alone.

    Args:
        home: whose bundles.
        named: folders that stay, because the record of epochs, the configuration or a running worker names them.
        epochs: epochs whose folders all stay, because a running worker does not say which of them it runs.
    """
    places = {str(folder.resolve()) for folder in named}
    removed = []
    for folder in sorted((home.root / "bundles").glob("*-*")):
        found = _JOINED.fullmatch(folder.name)
        if found is None or found["epoch"] in epochs or str(folder.resolve()) in places:
            continue
        with suppress(OSError):  # another worker removes it at the same time, or it is not ours to remove
            if time.time() - folder.stat().st_mtime < UNUSED_S:
                continue
            part = folder.rename(folder.with_name(f"{folder.name}.{uuid4().hex}.part"))  # nobody sees half a bundle
            shutil.rmtree(part)
            removed.append(folder)
            _log.info("removed %s: no epoch of the record and no running worker names it", folder)
    return removed
