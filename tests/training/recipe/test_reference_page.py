"""The page of all keys of a recipe is what the types say, and its defaults are the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from training.recipe import Recipe
from training.recipe.reference_page import page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "recipe.md"
WRITE = "write it again: python -m training.recipe.reference_page > docs/reference/recipe.md"
REQUIRED = """
name = "x"
schedule = {steps = 1, views = 2}
datasets = [{name = "a", share = 1}]
heads = [{id = "h", column = "c"}]
"""


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert text == page(), WRITE
    assert not re.search(r"\|\s*\|$", text, re.MULTILINE), "a key without a word about it"


def test_a_recipe_of_all_defaults_is_the_one_without_them() -> None:
    """From outside: the keys and defaults of the page, written as a file, are read and change nothing."""
    tables: dict[str, list[str]] = {"": []}
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            found = re.fullmatch(r"## \[(\w+)\]", line)
            section = found[1] if found else "" if line == "## Keys above all tables" else "-"
        elif row := re.match(r"\| `(\w+)` \| [^|]* \| `([^|]*)` \|", line):
            tables.setdefault(section, []).append(f"{row[1]} = {row[2]}")
    assert len(tables[""]) > 8
    assert set(tables) >= {"schedule", "metric", "distillation", "weighting"}
    text = "\n".join(tables[""]) + REQUIRED.replace(
        "steps = 1, views = 2", "steps = 1, " + ", ".join(tables["schedule"])
    )
    for name in ("metric", "distillation", "weighting"):
        text += f"\n[{name}]\n" + "\n".join(tables[name])
    assert msgspec.toml.decode(text, type=Recipe) == msgspec.toml.decode(REQUIRED, type=Recipe)
