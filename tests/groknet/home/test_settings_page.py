"""The page of all settings is what the types say, says a word about each key, and its defaults are the real ones."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from groknet.home.config import load_config
from groknet.home.config_text import as_plain
from groknet.home.paths import Home
from groknet.home.settings_page import page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"
WRITE = "write it again: python -m groknet.home.settings_page > docs/reference/settings.md"
FILLED_IN = {"stream.url", "store.url", "engine.bundle", "intake.allowed_roots"}  # depend on HOME


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert text == page(), WRITE
    assert not re.search(r"\|\s*\|$", text, re.MULTILINE), "a key without a word about it"


def test_a_file_of_all_defaults_changes_nothing(tmp_path: Path) -> None:
    """From outside: the keys and defaults of the page, written as a file, are read and give the same configuration."""
    lines = []
    for line in PAGE.read_text().splitlines():
        if section := re.fullmatch(r"## (\[\w+\])", line):
            lines.append(section[1])
        elif row := re.match(r"\| `(\w+)` \| [^|]* \| `([^|]*)` \|", line):
            lines.append(f"{row[1]} = {row[2]}")
    text = "\n".join(lines)
    assert len(lines) > 80
    for name, written in (("plain", ""), ("defaults", text)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "groknet.toml").write_text(written)
    plain, defaults = (as_plain(load_config(Home(tmp_path / name), {})) for name in ("plain", "defaults"))
    for section, keys in plain.items():
        for key, value in keys.items():
            if f"{section}.{key}" not in FILLED_IN:
                assert defaults[section][key] == value, f"{section}.{key}"
    assert {f"{s}.{k}" for s, keys in tomllib.loads(text).items() for k in keys} <= {
        f"{s}.{k}" for s, keys in plain.items() for k in keys
    }
