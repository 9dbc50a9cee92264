"""Settings that name heads and labels are checked against a bundle before anything runs on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from groknet.home.config import Config
from groknet.home.hidden_heads import check_hidden_heads
from schemas.errors import ConfigError
from tests.engines.tiny_bundle import write_tiny_bundle
from workers.search import SearchSettings


def test_synonyms_name_labels_that_the_bundle_has(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    check_hidden_heads(Config(search=SearchSettings(synonyms={"colour/red": ["scarlet"]})), tmp_path)
    wrong = Config(search=SearchSettings(synonyms={"colour/pink": ["rose"]}))
    check_hidden_heads(wrong, tmp_path, ["tagger"])  # the tagger reads no words
    with pytest.raises(ConfigError, match=r"search\.synonyms: .* has no label 'colour/pink'"):
        check_hidden_heads(wrong, tmp_path)
    hidden = SearchSettings(synonyms={"colour/red": ["scarlet"]}, hidden_heads=("colour",))
    check_hidden_heads(Config(search=hidden), tmp_path)  # a hidden head's synonyms mean nothing, and harm nothing
