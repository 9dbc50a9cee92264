"""All mistakes of a TOML file at once: msgspec names the first one and stops."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect as types

_OWN = re.compile(r"[a-z_]+(\[[^\]]+\])?(\.[a-z_]+)?: ")  # how a message of ours begins: with its place


def all_mistakes(text: str, kind: type[msgspec.Struct]) -> list[str]:
    """What is wrong with a TOML text that should be a `kind`, in msgspec's words; an empty list if nothing is.

    What a struct checks itself (`__post_init__`, a line for each mistake) is only said where all its values are good.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [str(error)]
    return list(_of_struct(found, kind, "$"))


def _of_struct(value: Any, kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"Expected `object`, got `{_name(value)}` - at `{path}`"
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    config = kind.__struct_config__
    good = True
    for key in value:
        if key not in fields and key != config.tag_field:
            near = get_close_matches(key, fields, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            yield f"Object contains unknown field `{key}`{hint} - at `{path}`"
            good = False
    for name, field in fields.items():
        if name not in value:
            if field.required:
                yield f"Object missing required field `{name}` - at `{path}`"
                good = False
            continue
        for mistake in _of_value(value[name], field.type, f"{path}.{name}"):
            yield mistake
            good = False
    if good:
        yield from _converted(value, kind, path)


def _of_value(value: Any, kind: Any, path: str) -> Iterator[str]:
    """The mistakes of a value of any type."""
    if get_origin(kind) is list and isinstance(value, list):
        for i, one in enumerate(value):
            yield from _of_value(one, get_args(kind)[0], f"{path}[{i}]")
        return
    struct = _struct_of(value, kind)
    if struct is not None:
        yield from _of_struct(value, struct, path)
    else:
        yield from _converted(value, kind, path)


def _struct_of(value: Any, kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a value should be: the type itself, or the member of a union whose tag the value has."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    info = types.type_info(kind)
    if isinstance(info, types.UnionType) and isinstance(value, dict):
        for one in info.types:
            if isinstance(one, types.StructType) and value.get(one.tag_field or "") == one.tag:
                return one.cls
    return None


def _converted(value: Any, kind: Any, path: str) -> Iterator[str]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        at = f" - at `{path}`"
        if " - at `$" in text:  # msgspec counts from this value
            text, _, inner = text.rpartition(" - at `$")
            at = f" - at `{path}{inner}"
        for line in text.splitlines():
            yield line if _OWN.match(line) else line + at


def _name(value: Any) -> str:
    return {dict: "object", list: "array", str: "str", bool: "bool", int: "int", float: "float"}.get(type(value), "?")
