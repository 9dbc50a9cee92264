"""What the tests of training share: one corpus that nobody changes."""

from __future__ import annotations

import pytest

from tests.training.tiny import tiny_recipe
from training.data.corpus import Corpus, load_corpus


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The photos of `tiny_recipe`, decoded, with what the frozen trunk says of them. To be read only."""
    folder = tmp_path_factory.mktemp("corpus")
    return load_corpus(tiny_recipe(), folder, folder / "cache")
