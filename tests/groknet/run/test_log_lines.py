"""What a worker's lines look like, and what they never show."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from groknet.run.log_lines import formatter, without_queries


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("workers.x", logging.WARNING, "x.py", 1, message, arguments, None)
    made.created = 1_700_000_000.25
    made.__dict__.update(extra)
    return made


def test_json_has_the_fields_that_a_line_is_about() -> None:
    text = formatter("json").format(record("the engine failed on %d photos", 3, batch=7, listing="shop/ä"))
    assert "\n" not in text
    assert json.loads(text) == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "level": "warning",
        "logger": "workers.x",
        "message": "the engine failed on 3 photos",
        "listing": "shop/ä",
        "batch": 7,
    }


def test_console_shows_the_fields_at_the_end() -> None:
    text = formatter("console").format(record("the engine failed", batch=7, listing="shop/1"))
    assert text.endswith(" WARNING workers.x: the engine failed [listing shop/1] [batch 7]")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_message_is_one_line_and_shows_no_query_string(form: str) -> None:
    text = formatter(form).format(record("cannot fetch %s", "https://cdn.example/a.jpg?sig=SECRET\nforged line"))
    assert "\n" not in text
    assert "SECRET" not in text
    assert "https://cdn.example/a.jpg?" in text


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_stack_shows_no_query_string(form: str) -> None:
    failing = record("failed")
    try:
        raise ValueError("Max retries exceeded with url: /a.jpg?sig=SECRET (Caused by http://h/b?sig=SECRET#SECRET)")
    except ValueError:
        failing.exc_info = sys.exc_info()
    text = formatter(form).format(failing)
    assert "ValueError" in text
    raised = text.rpartition("ValueError: ")[2]  # the stack also quotes the line of this file
    assert "SECRET" not in raised


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see http://h/a?b=c, then go", "see http://h/a?…"),
        ("is it there? yes", "is it there? yes"),
        ("HTTPS://H/?x", "HTTPS://H/?…"),
        ("'http://h/a?b' and 'http://h/c#d'", "'http://h/a?…' and 'http://h/c?…'"),
        ("runbook /docs/x.md", "runbook /docs/x.md"),
    ],
)
def test_query_strings_and_nothing_else_are_cut(text: str, shown: str) -> None:
    assert without_queries(text).startswith(shown)
