"""The page of all URL options is what the types say, and every option on it is one that the readers of URLs know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from groknet.home.address_options import page
from schemas.errors import ConfigError
from workers.stores import build_store
from workers.streams import build_stream

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "addresses.md"


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert text == page(), "write it again: python -m groknet.home.address_options > docs/reference/addresses.md"
    assert not re.search(r"\|\s*\|$", text, re.MULTILINE), "an option without a word about it"


@pytest.mark.parametrize(
    ("part", "open_", "url"),
    [
        ("Kafka", lambda url: build_stream(url, "test"), "kafka://a?"),
        ("Cassandra", build_store, "cassandra://a/k?"),
    ],
)
def test_the_readers_know_the_same_options(part: str, open_, url: str) -> None:
    """From outside: what a reader says that it knows."""
    table = PAGE.read_text().partition(f"## {part}")[2].partition("## ")[0]
    with pytest.raises(ConfigError) as caught:
        open_(f"{url}replicas=1&replicas=2")
    known = str(caught.value).partition("options: ")[2].split(", ")
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == known
