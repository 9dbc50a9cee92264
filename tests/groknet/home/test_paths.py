"""HOME: which folder it is, what lies in it, and what is said where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from groknet.cli.exits import CommandError, Exit
from groknet.home.paths import Home, find_home
from workers.stores import build_store


def test_home_is_the_option_else_the_variable_else_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_home(Path("a"), {"GROKNET_HOME": "/b"}).root == tmp_path / "a"
    assert find_home(None, {"GROKNET_HOME": "/b"}).root == Path("/b")
    assert find_home(None, {}).root == tmp_path / "groknet-home"


def test_making_a_home_makes_all_its_folders_and_twice_is_once(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    assert home.make().make() is home
    assert {path.name for path in home.root.iterdir()} == {"run", "logs", "uploads"}
    assert home.must_exist() is home


def test_a_home_that_cannot_be_made_and_one_that_is_not_there_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CommandError, match=f"--home {tmp_path}/file/home: cannot be created .*write to") as caught:
        Home(tmp_path / "file" / "home").make()
    assert caught.value.code == Exit.USAGE
    with pytest.raises(
        CommandError, match=f"no such folder; start with `groknet run all --home {tmp_path}/none`"
    ) as gone:
        Home(tmp_path / "none").must_exist()
    assert gone.value.code == Exit.NOT_FOUND
    assert not (tmp_path / "none").exists(), "reading from a mistyped home creates none"


def test_the_embedded_stream_and_store_open_where_the_urls_say(tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    build_store(home.store_url).close()
    assert (tmp_path / "store.db").is_file()
    assert home.stream_url == home.store_url.replace("store.db", "stream.db")
