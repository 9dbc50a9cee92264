"""`groknet topics apply|check`: makes what is missing, names what differs, changes nothing that is there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from schemas.topics import DEAD_LETTERS, PREDICTIONS, TOPICS, UPLOADED
from tests.groknet.conftest import Call
from workers.streams import TopicSpec, build_stream


def make(url: str, spec: TopicSpec) -> None:
    admin = build_stream(url, "test").admin()
    admin.ensure_topics([spec])
    admin.close()


def states(lines: list[dict[str, str]]) -> dict[str, str]:
    return {line["topic"]: line["state"] for line in lines}


def test_apply_makes_what_check_misses(groknet: Call, tmp_path: Path) -> None:
    before = groknet("topics", "check", "--json", "--home", str(tmp_path))
    assert before.code == Exit.FAILED
    assert "groknet topics apply" in before.err
    assert set(states(before.lines).values()) == {"missing"}
    assert len(states(before.lines)) == len(TOPICS)
    applied = groknet("topics", "apply", "--json", "--home", str(tmp_path))
    assert applied.code == Exit.OK
    assert set(states(applied.lines).values()) == {"made"}
    assert set(states(groknet("topics", "apply", "--json", "--home", str(tmp_path)).lines).values()) == {"there"}
    after = groknet("topics", "check", "--home", str(tmp_path))
    assert (after.code, after.err) == (Exit.OK, "")
    assert after.out.count(": ok") == len(TOPICS)


def test_a_topic_that_differs_is_named_with_the_remedy(
    groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite://{tmp_path}/stream.db"
    monkeypatch.setenv("GROKNET__STREAM__URL", url)
    make(url, TopicSpec(UPLOADED, 3))
    answer = groknet("topics", "check", "--json", "--home", str(tmp_path))
    assert answer.code == Exit.FAILED
    assert UPLOADED in answer.err
    assert "new name" in answer.err
    found = states(answer.lines)
    assert found.pop(UPLOADED) == "differs"
    assert set(found.values()) == {"missing"}
    assert groknet("topics", "apply", "--home", str(tmp_path)).code == Exit.USAGE
    assert PREDICTIONS not in answer.err


def test_apply_gives_failed_events_the_retention_of_the_configuration(
    groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite://{tmp_path}/stream.db"
    monkeypatch.setenv("GROKNET__STREAM__URL", url)
    assert groknet("topics", "apply", "--home", str(tmp_path)).code == Exit.OK
    monkeypatch.setenv("GROKNET__STREAM__KEEP_DEAD_LETTERS_DAYS", "3")
    before = groknet("topics", "check", "--json", "--home", str(tmp_path))
    assert before.code == Exit.FAILED
    assert [name for name, state in states(before.lines).items() if state == "differs"] == [DEAD_LETTERS]
    assert "groknet topics apply" in before.err
    assert groknet("topics", "apply", "--home", str(tmp_path)).code == Exit.OK
    assert groknet("topics", "check", "--home", str(tmp_path)).code == Exit.OK
    make(url, TopicSpec(DEAD_LETTERS, 8, retention_ms=3 * 86_400_000))  # raises if the topic has another one
    monkeypatch.setenv("GROKNET__STREAM__KEEP_DEAD_LETTERS_DAYS", "31")
    assert groknet("topics", "check", "--home", str(tmp_path)).code == Exit.USAGE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")  # kafka-python 3.0.12
@pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")
def test_a_wrong_broker_address_is_one_sentence(groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kafka")
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    monkeypatch.setenv("GROKNET__STREAM__URL", f"kafka://127.0.0.1:{closed}")
    answer = groknet("topics", "check", "--home", str(tmp_path))
    assert answer.code == Exit.NOT_RUNNING
    assert len(answer.err.splitlines()) == 1
    assert f"127.0.0.1:{closed} cannot be connected to" in answer.err
    assert "correct the address" in answer.err
