"""Which line of a TOML recipe an error is about."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_HEADER = re.compile(r"\s*\[\[?\s*([\w.-]+)\s*\]\]?")
_KEY = re.compile(r"\s*([\w-]+)\s*=\s*(.*)")
_PATH = re.compile(r"`\$\.?([^`]*)`|^([a-z_]+(?:\[[^\]]+\])?(?:\.[a-z_]+)?):")


@dataclass
class _Table:
    name: str
    line: int
    keys: dict[str, int] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)  # values of `id` and `name`


def line_of(text: str, message: str) -> int | None:
    """The number of the line, from 1, that an error `message` is about, or None if the message names no place.

    It understands msgspec's path (`$.heads[2].kind`), the unknown field that msgspec names, our own
    `heads[ID].kind: …`, and the line that the TOML parser gives.
    """
    parsed = re.search(r"at line (\d+)", message)
    if parsed:
        return int(parsed.group(1))
    found, unknown = _PATH.search(message), re.search(r"unknown field `([^`]+)`", message)
    if not found and not unknown:
        return None
    table, which, key = _split((found.group(1) or found.group(2) or "") if found else "")
    if unknown:
        table, key = table or key, unknown.group(1)
    return _find(_tables(text), table, which, key)


def told(path: Path, text: str, messages: Iterable[str]) -> str:
    """The messages about the recipe `text` in the file `path`, a line for each in the order of the file, with the line
    to change."""
    found = [(line_of(text, message), message) for message in dict.fromkeys(messages)]
    found.sort(key=lambda one: one[0] or 0)
    return "\n".join(f"recipe {path}{f', line {line}' if line else ''}: {message}" for line, message in found)


def _split(path: str) -> tuple[str, str, str]:
    """`heads[2].kind` → heads, 2, kind; `schedule.steps` → schedule, '', steps; `size` → '', '', size."""
    part = re.match(r"([\w-]+)(?:\[([^\]]+)\])?(?:\.([\w-]+))?", path)
    if not part:
        return "", "", ""
    name, which, key = part.group(1), part.group(2) or "", part.group(3) or ""
    return (name, which, key) if which or key else ("", "", name)


def _tables(text: str) -> list[_Table]:
    tables = [_Table("", 1)]
    for number, line in enumerate(text.splitlines(), 1):
        header, pair = _HEADER.match(line), _KEY.match(line)
        if header:
            tables.append(_Table(header.group(1), number))
        elif pair:
            tables[-1].keys[pair.group(1)] = number
            if pair.group(1) in ("id", "name"):
                tables[-1].labels.add(pair.group(2).split("#")[0].strip().strip("\"'"))
    return tables


def _find(tables: list[_Table], name: str, which: str, key: str) -> int | None:
    """The line of the key, or of its table if the key is missing, or None if the table is missing too."""
    named = [t for t in tables if t.name == name]
    if which.isdigit() and int(which) < len(named):
        named = [named[int(which)]]
    elif which:
        # a head `ID-07` comes from a head `ID` with `repeat`
        named = [t for t in named if which in t.labels or re.sub(r"-\d+$", "", which) in t.labels]
    lines = [t.keys[key] for t in named if key in t.keys]
    if lines:
        return lines[0]
    if named and name:
        return named[0].line
    return next((t.line for t in tables if t.name == key), None)
