"""What a field may hold, in words, and its default as TOML has it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from schemas.field_words import default_words, value_words


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (str, "text"),
        (bool, "`true` or `false`"),
        (int | None, "whole number or none"),
        (Annotated[int, Meta(ge=1, le=1000)], "whole number from 1 to 1,000"),
        (Annotated[float, Meta(gt=0, lt=1)], "number above 0, below 1"),
        (Literal["b", "a"], "`a`, `b`"),
        (list[str], "list: text"),
        (tuple[int, ...], "list: whole number"),
        (tuple[float, float], "list of 2: number"),
        (dict[str, dict[str, str]], "table: table: text"),
    ],
)
def test_what_a_value_may_be(kind: object, words: str) -> None:
    assert value_words(kind) == words


class Some(msgspec.Struct):
    name: str = ""
    size: int | None = None
    share: float = 0.5
    on: bool = True
    words: list[str] = msgspec.field(default_factory=list)


def test_defaults_are_as_a_file_has_them() -> None:
    said = {field.name: default_words(field) for field in msgspec.structs.fields(Some)}
    assert said == {"name": "", "size": "", "share": "`0.5`", "on": "`true`", "words": "`[]`"}
