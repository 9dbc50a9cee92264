"""`groknet drift report` refuses what it cannot use, by name. `tests/groknet/drift` runs it on a real Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.groknet.conftest import Call


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--prometheus", "127.0.0.1:9090"], "--prometheus"),
        (["--job", 'a"b'], "--job"),
        (["--out", "gone/drift.html"], "--out"),
        (["--prometheus", "http://127.0.0.1:9"], "--prometheus"),
    ],
)
def test_what_cannot_be_used_is_named(
    groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = groknet("drift", "report", *options)
    assert said.code != 0
    assert named in said.err
    assert not (tmp_path / "drift.html").exists()
