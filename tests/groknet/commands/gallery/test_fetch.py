from __future__ import annotations

from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from tests.groknet.conftest import Call
from tests.groknet.fetching.site import Site, jpeg


def test_a_list_is_fetched_and_a_second_call_fetches_nothing_again(groknet: Call, tmp_path: Path, site: Site) -> None:
    site.answers = {"/1.jpg": jpeg("red")}
    (tmp_path / "list.txt").write_text(f"{site.url('/1.jpg')}\n{site.url('/none.jpg')}\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / "groknet.toml").write_text(f'[intake]\nallowed_private = ["{site.host}"]\n')
    words = ("gallery", "fetch", tmp_path / "list.txt", "--out", tmp_path / "out", "--home", home, "--pause-s", 0.1)
    answer = groknet(*words, "--json")
    assert answer.code == Exit.OK
    (told,) = answer.lines
    assert (told["done"], told["refused"], told["waiting"]) == (1, 1, 0)
    assert "answered 404" in told["reasons"][0]["why"]
    assert [path.read_bytes() for path in (tmp_path / "out" / "photos").rglob("*.jpg")] == [jpeg("red")]
    asked = len(site.asked)
    assert groknet(*words).out.startswith("1 fetched, 1 refused, 0 failed")
    assert len(site.asked) == asked


@pytest.mark.parametrize(("text", "code"), [("no address", Exit.USAGE), (None, Exit.NOT_FOUND)])
def test_what_is_no_list_is_named(groknet: Call, tmp_path: Path, text: str | None, code: Exit) -> None:
    if text is not None:
        (tmp_path / "list.txt").write_text(text)
    assert groknet("gallery", "fetch", tmp_path / "list.txt", "--out", tmp_path / "out").code == code
