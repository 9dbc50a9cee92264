"""Writes the reference page of every key of `HOME/groknet.toml` from the types that read it.

`python -m groknet.home.settings_page > docs/reference/settings.md`; a test compares the page with this.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator

import msgspec

from groknet.home.config import ENV_PREFIX, Config
from schemas.field_words import default_words, value_words

_HEAD = f"""\
# Settings

Every key of `HOME/groknet.toml`. This page is generated from the types that read the file:
`python -m groknet.home.settings_page > docs/reference/settings.md`.

An environment variable overrides a key: `{ENV_PREFIX}TAGGER__BATCH_SIZE=16` stands for `batch_size = 16` in section
`[tagger]`. Write lists and tables in the environment as JSON. `groknet config --home HOME` shows every key with the
value in force; some depend on HOME, such as `intake.allowed_roots`. An unknown key is an error, and the message names
the nearest key.

The options of `stream.url` and `store.url` have [a page of their own](addresses.md).
"""


def page() -> str:
    """The whole page, as Markdown: a table for each section, in the order of the configuration."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for section in msgspec.structs.fields(Config):
        kind = section.type
        keys = _docstrings(kind)
        rows = [
            (f"`{key.name}`", value_words(key.type), default_words(key), keys.get(key.name, ""))
            for key in msgspec.structs.fields(kind)
        ]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        table = "\n".join(["| key | value | default | what it is |", "|---|---|---|---|", *lines])
        yield f"## [{section.name}]\n{inspect.cleandoc(kind.__doc__ or '')}\n\n{table}\n"


def _docstrings(kind: type) -> dict[str, str]:
    """The text below each attribute of a class, by the attribute's name."""
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(found, ast.ClassDef)
    texts, name = {}, ""
    for node in found.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                texts[name] = " ".join(text.split())
    return texts


if __name__ == "__main__":
    sys.stdout.write(page())
