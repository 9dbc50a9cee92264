"""A configuration as TOML text. It can be read back, except for the secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from groknet.home.config import Loaded, hide_secrets


def as_plain(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """Sections and keys as plain values, secrets hidden."""
    plain: dict[str, dict[str, Any]] = msgspec.to_builtins(loaded.config)
    return {name: hide_secrets(name, section) for name, section in plain.items()}


def as_toml(loaded: Loaded) -> str:
    """The configuration as TOML. A comment names the origin of each value that is not the default. A key without a
    value is a comment."""
    lines = [f"# {loaded.home.config_file}, overridden by GROKNET__SECTION__KEY in the environment"]
    for name, section in as_plain(loaded).items():
        lines += ["", f"[{name}]"]
        for key, value in section.items():
            origin = loaded.origin.get(f"{name}.{key}")
            text = f"# {key} is not set" if value is None else f"{key} = {_literal(value)}"
            lines.append(text + (f"  # {origin}" if origin else ""))
    return "\n".join(lines)


def _literal(value: Any) -> str:
    """A value as a TOML literal. Strings are JSON strings, which are valid basic strings of TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_literal(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)
