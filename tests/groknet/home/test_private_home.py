"""A home is for its owner alone, the doctor says when it is not, and no stranger's text steers a terminal."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from groknet.cli.plain_text import shown, shown_lines
from groknet.home.paths import Home, loose_files
from groknet.run.log_lines import formatter
from schemas.topics import UPLOADED
from tests.groknet.conftest import Call
from workers.stores import build_store
from workers.streams import build_stream
from workers.streams.base import TopicSpec


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(home: Path) -> dict[str, int]:
    return {path.relative_to(home).as_posix(): path.stat().st_mode & 0o777 for path in home.rglob("*")}


def test_what_a_home_holds_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").make()
    build_store(home.store_url).close()
    admin = build_stream(home.stream_url, "test").admin()
    admin.ensure_topics([TopicSpec(UPLOADED, 1, False, None)])
    admin.close()
    (home.logs / "tagger.log").write_text("line\n")
    assert home.root.stat().st_mode & 0o777 == 0o700
    found = modes(home.root)
    assert {"store.db", "stream.db", "logs/tagger.log", "uploads"} <= found.keys()
    assert [name for name, mode in found.items() if mode & 0o077] == []
    assert loose_files(home) == []


def test_the_doctor_names_a_loose_home(tmp_path: Path, groknet: Call) -> None:
    home = Home(tmp_path / "home")
    home.root.mkdir(mode=0o755)
    home.config_file.write_text("")
    assert loose_files(home) == [home.root, home.config_file]
    said = groknet("doctor", "--home", home.root).out
    assert f"others than its owner may read it, and 1 files  → chmod -R go= {home.root}" in said
    home.root.chmod(0o700)
    assert loose_files(home) == []
    assert "others than its owner" not in groknet("doctor", "--home", home.root).out


STEERING = "a\x1b]0;title\x07\x9b2J\u202eb\rc"


def test_shown_text_has_no_character_that_steers() -> None:
    assert shown(STEERING) == r"a\x1b]0;title\x07\x9b2J\u202eb\rc"
    assert shown_lines("one\ntwo\x1b") == "one\ntwo\\x1b"


def test_a_log_line_stays_one_line(caplog: pytest.LogCaptureFixture) -> None:
    record = logging.makeLogRecord(
        {"msg": "bad event: %s", "args": ("x\n2026 ERROR forged\x1b[2J",), "levelname": "INFO"}
    )
    assert formatter("console").format(record).endswith(r": bad event: x\n2026 ERROR forged\x1b[2J")


@pytest.mark.parametrize("command", [("show", "--home", "{home}", STEERING), ("where", "--home", "{home}", STEERING)])
def test_commands_escape_what_a_stranger_wrote(tmp_path: Path, groknet: Call, command: tuple[str, ...]) -> None:
    home = Home(tmp_path / "home").make()
    build_store(home.store_url).close()
    answer = groknet(*(word.format(home=home.root) for word in command))
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(answer.out + answer.err)
    assert r"\x1b]0;title\x07" in answer.err
