"""`groknet services logs` without servers: what a log holds is shown escaped, line by line."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import msgspec
import pytest

from deploy.local import ServicesSettings
from deploy.local.planning import plan
from groknet.cli.exits import Exit
from tests.groknet.conftest import Call


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose Kafka ran once: its log has a request of a stranger in it."""
    state = plan(tmp_path, ServicesSettings(nodes=0))
    (tmp_path / "services.json").write_bytes(msgspec.json.encode(state))
    log = Path(state.servers[0].logs[0])
    log.parent.mkdir(parents=True)
    log.write_bytes(
        b"first line\nuser \x1b]0;owned\x07\x9b2J \xe2\x80\xaegpj.exe\rforged\x00\x7f\xff\n\xc2\x85next\nno end"
    )
    return tmp_path


def test_control_characters_of_a_log_are_escaped(home: Path, groknet: Call) -> None:
    answer = groknet("services", "logs", "--home", home)
    assert answer.code == Exit.OK
    assert [c for c in answer.out if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")] == []
    lines = answer.out.splitlines()
    assert lines[0] == "kafka-1: first line"
    assert all(line.startswith("kafka-1: ") for line in lines)  # a forged line shows whose it is
    assert r"\x1b]0;owned\x07" in answer.out
    assert "no end" not in answer.out  # the server still writes it


def test_a_name_of_a_server_is_escaped_too(home: Path, groknet: Call) -> None:
    answer = groknet("services", "logs", "kafka\x1b[2J", "--home", home)
    assert answer.code == Exit.NOT_FOUND
    assert "\x1b" not in answer.out + answer.err
