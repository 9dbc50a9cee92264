"""The examples of RFC 9309 (sections 2.2 and 5) and of Google's description of wildcards, written out by hand."""

from __future__ import annotations

import pytest

from groknet.fetching.robots import MOST_BYTES, Rules

HOST = "https://shop.example"
FILE = b"""User-agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/
Crawl-delay: 2.5

User-agent: GROKNET-intake
Allow: /example/page/
Disallow: /example/page/disallowed.gif
Disallow: /*.php
Crawl-delay: 5000
"""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", True),
        ("/example/page/", True),
        ("/example/page/disallowed.gif", False),
        ("/a.gif", True),
        ("/index.php?x=1", False),
    ],
)
def test_the_group_with_our_name_counts_and_the_longest_rule_wins(path: str, allowed: bool) -> None:
    assert Rules(FILE).allows(HOST + path) is allowed
    assert Rules(FILE).delay_s == 600.0


def test_without_our_name_the_general_group_counts() -> None:
    rules = Rules(FILE.partition(b"User-agent: GROK")[0])
    allowed = {path: rules.allows(HOST + path) for path in ("/a.gif", "/example/1", "/publications/a", "/a.gif?x")}
    assert allowed == {"/a.gif": False, "/example/1": False, "/publications/a": True, "/a.gif?x": True}
    assert rules.delay_s == 2.5


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00 no text", b"<html>404</html>", b"Disallow: /\n"])
def test_a_file_without_rules_allows_everything(data: bytes) -> None:
    assert Rules(data).allows(f"{HOST}/x")
    assert Rules(data).delay_s == 0.0


def test_a_huge_file_is_read_in_part() -> None:
    rules = Rules(b"User-agent: *\nDisallow: /a\n" + b"#" * MOST_BYTES + b"\nDisallow: /b\n")
    assert not rules.allows(f"{HOST}/a")
    assert rules.allows(f"{HOST}/b")
