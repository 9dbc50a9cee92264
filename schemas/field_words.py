"""Says in words what a field may hold, for the reference pages that are made from types."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect as types

_PLAIN = {types.StrType: "text", types.BoolType: "`true` or `false`", types.NoneType: "none"}
_NUMBERS = {types.IntType: "whole number", types.FloatType: "number"}


def value_words(kind: Any) -> str:
    """What a value of the type `kind` may be."""
    return _words(types.type_info(kind))


def default_words(key: msgspec.structs.FieldInfo) -> str:
    """A field's default as TOML has it; empty for none, for an empty text, and for a struct."""
    value = key.default if key.default is not msgspec.NODEFAULT else key.default_factory()
    if value is None or value == "" or isinstance(value, msgspec.Struct):
        return ""
    return f"`{msgspec.json.encode(value).decode()}`"


def _words(info: types.Type) -> str:
    match info:
        case types.Metadata(type=inner):
            text = _words(inner)
        case types.UnionType(types=several):
            text = " or ".join(_words(one) for one in several)
        case types.LiteralType(values=values):
            text = ", ".join(f"`{value}`" for value in values)
        case types.VarTupleType(item_type=item) | types.ListType(item_type=item):
            text = f"list: {_words(item)}"
        case types.TupleType(item_types=several):
            text = f"list of {len(several)}: {_words(several[0])}"
        case types.DictType(value_type=value):
            text = f"table: {_words(value)}"
        case types.IntType() | types.FloatType():
            text = _NUMBERS[type(info)] + _bounds(info)
        case _:
            text = _PLAIN[type(info)]
    return text


def _bounds(info: types.IntType | types.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f" from {info.ge:,} to {info.le:,}"
    parts = [
        f" {word} {bound:,}"
        for word, bound in (("from", info.ge), ("above", info.gt), ("to", info.le), ("below", info.lt))
        if bound is not None
    ]
    return ",".join(parts)
