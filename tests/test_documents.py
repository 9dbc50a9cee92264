"""What the documents promise is there: every relative link, and every command that they spell out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from groknet.cli import _BUNDLE, _COMMANDS, _DATA, _DLQ, _ENGINE, _RUN

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
DOCUMENTS += (ROOT / "training").glob("*.md")
ids = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


def _anchor(heading: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        file = (document.parent / place).resolve() if place else document
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(_anchor, headings), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_commands_that_are_spelled_out_are_there(document: Path) -> None:
    groups = {"run": _RUN, "dlq": _DLQ, "bundle": _BUNDLE, "data": _DATA, "engine": _ENGINE}
    for command, more in re.findall(
        r"(?:^|`)groknet ([a-z-]+)(?: ([a-z-]+))?", document.read_text("utf-8"), re.MULTILINE
    ):
        assert command in {*_COMMANDS, *groups}, command
        assert command not in groups or not more or more in groups[command], f"{command} {more}"
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text("utf-8"), re.MULTILINE):
        assert target in targets, target
