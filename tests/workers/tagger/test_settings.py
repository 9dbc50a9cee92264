"""Settings that were renamed still count."""

from __future__ import annotations

import logging

import msgspec
import pytest

from workers.tagger.settings import TaggerSettings


@pytest.mark.parametrize("kept", [True, False])
def test_the_old_name_of_keep_embedding_still_counts(kept: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        settings = msgspec.convert({"keep_margins": kept}, TaggerSettings)
    assert settings == TaggerSettings(keep_embedding=kept)
    assert "write keep_embedding instead" in caplog.text
    assert "keep_margins" not in {k for k, v in msgspec.to_builtins(settings).items() if v is not None}


def test_the_new_name_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not msgspec.convert({"keep_embedding": False}, TaggerSettings).keep_embedding
        assert TaggerSettings().keep_embedding
    assert not caplog.text
