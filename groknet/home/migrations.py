"""Finds the migrations of the store."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from schemas.errors import ConfigError


def migrations() -> Path:
    """The folder of the migrations that come with the package. Raises ConfigError if they are not installed."""
    spec = find_spec("deploy")
    for place in list(spec.submodule_search_locations or ()) if spec else []:
        if (folder := Path(place) / "cql").is_dir():
            return folder
    raise ConfigError("the migrations (deploy/cql) are not installed; run groknet from its sources")
