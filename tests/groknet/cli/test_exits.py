"""Exit codes that scripts rely on: one for each kind of error, and a table that names each."""

from __future__ import annotations

import pytest

from groknet.cli.exits import CommandError, Exit, exit_code, table
from schemas.errors import BundleRefused, ConfigError, GroknetError, Invalid, TooManyDeadLetters, Transient


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError("x"), 1),
        (CommandError("x", Exit.NOT_FOUND), 4),
        (ConfigError("x"), 2),
        (BundleRefused("x"), 2),
        (TooManyDeadLetters("x"), 2),
        (Transient("store", "away", "x"), 3),
        (Invalid("fetch", "gone", "x"), 1),
        (GroknetError("x"), 1),
    ],
)
def test_each_error_has_its_code(error: GroknetError, code: int) -> None:
    assert exit_code(error) == code


def test_the_table_names_every_code_once() -> None:
    assert [int(line.split()[0]) for line in table().splitlines()] == [code.value for code in Exit]
