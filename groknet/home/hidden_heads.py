"""Whether a bundle has the heads that the configuration hides, and the labels for which it has synonyms. A worker whose
bundle lacks one does not start."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engines.words import Phrases
from groknet.home.config import Config, Loaded
from schemas.manifest import load_manifest
from workers.hidden_heads import SEARCH, TAGGER, without_heads


def check_hidden_heads(config: Config, bundle: Path, kinds: Iterable[str] = ("tagger", "search")) -> None:
    """Check the settings of these kinds of worker against the bundle in a folder.

    Raises:
        ConfigError: a setting names a head or a label that the bundle does not have.
        BundleRefused: there is no bundle.
    """
    hidden = {"tagger": (config.tagger.hidden_heads, TAGGER), "search": (config.search.hidden_heads, SEARCH)}
    if "search" in kinds and config.search.synonyms:
        Phrases(load_manifest(bundle), config.search.synonyms, config.search.hidden_heads)
    chosen = [hidden[kind] for kind in kinds if kind in hidden and hidden[kind][0]]
    if chosen:
        manifest = load_manifest(bundle)
        for heads, setting in chosen:
            without_heads(manifest, heads, setting)


def check_start(loaded: Loaded) -> None:
    """Check both settings against the bundle that the workers of a home would run. Raises as `check_hidden_heads`."""
    check_hidden_heads(loaded.config, Path(loaded.config.engine.bundle))
