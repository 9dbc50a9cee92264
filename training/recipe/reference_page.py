"""Writes the reference page of every key of a recipe from the types that read it.

`python -m training.recipe.reference_page > docs/reference/recipe.md`; a test compares the page with this.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import get_args

import msgspec

from schemas.field_words import default_words, value_words
from training.recipe.loss_entries import LossSpec
from training.recipe.recipe import Recipe
from training.recipe.tables import (
    Augment,
    DataSet,
    Distillation,
    GenericSet,
    HeadSpec,
    Metric,
    Schedule,
    View,
    Weighting,
)

_HEAD = """\
# Recipe

Every key of a recipe, the TOML file that `groknet train` reads. This page is generated from the types that read the
file: `python -m training.recipe.reference_page > docs/reference/recipe.md`.

`groknet train RECIPE --init PHOTOS` writes a first recipe for a folder of labelled photos. An unknown key is an error.
All mistakes of a file are reported at once, each with its line. [Training](../../training/README.md) explains how heads
and losses work together.
"""
_TABLES: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("[schedule]", Schedule),
    ("[[datasets]]", DataSet),
    ("[[heads]]", HeadSpec),
    ("[[generic]]", GenericSet),
    ("[metric]", Metric),
    ("[augment]", Augment),
    ("[augment.weak], [augment.strong]", View),
    ("[distillation]", Distillation),
    ("[weighting]", Weighting),
)
_OWN_TABLES = ("schedule", "datasets", "heads", "generic", "metric", "augment", "distillation", "weighting", "losses")
_OLD = ("min_images",)  # old names of keys
_OLD_VALUES = ("`catalyzer`, ",)


def page() -> str:
    """The whole page, as Markdown: the keys above all tables, then a table of keys for each table of the file."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    yield "## Keys above all tables\n\n" + _keys(Recipe, without=_OWN_TABLES)
    for name, kind in _TABLES:
        yield f"## {name}\n{_about(kind)}\n\n" + ("" if kind is Augment else _keys(kind))
    yield "## [[losses]]\nA loss of the embedding, of the hash or of the trunk's feature. `kind` says which one.\n"
    for kind in get_args(LossSpec):
        tag = kind.__struct_config__.tag
        yield f'### kind = "{tag}"\n{_about(kind)}\n\n' + _keys(kind)


def _keys(kind: type[msgspec.Struct], without: tuple[str, ...] = ()) -> str:
    said = _attributes(kind)
    rows = [
        (
            f"`{key.name}`",
            _without_old(value_words(key.type)),
            "required" if key.required else default_words(key),
            said.get(key.name, ""),
        )
        for key in msgspec.structs.fields(kind)
        if key.name not in (*without, *_OLD)
    ]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(["| key | value | default | what it is |", "|---|---|---|---|", *lines]) + "\n"


def _without_old(words: str) -> str:
    for old in _OLD_VALUES:
        words = words.replace(old, "")
    return words


def _about(kind: type[msgspec.Struct]) -> str:
    """A class's docstring without its attributes."""
    return inspect.cleandoc(kind.__doc__ or "").split("\n\nAttributes:")[0]


def _attributes(kind: type) -> dict[str, str]:
    """What a class and its bases say of their attributes, by the attribute's name."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        _, _, listed = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")
        name = ""
        for line in listed.splitlines():
            if match := re.match(r"    (\w+): (.*)", line):
                name, text = match.groups()
                found[name] = text
            elif name and line.startswith("     "):
                found[name] += " " + line.strip()
    return found


if __name__ == "__main__":
    sys.stdout.write(page())
