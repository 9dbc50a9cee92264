"""Finds breaking changes: compares two JSON Schemas, or two topic files, of which the old one is released.

Topics, stores and bundles contain old messages. So a new schema must read what an old one wrote, and must still write
what readers were promised. Optional fields may be added. Bounds, types and enums may become wider, because readers are
upgraded first. Every other change is a break and needs a new major version next to the old one.
"""

from __future__ import annotations

from typing import Any

import msgspec

Schema = dict[str, Any]

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT = ("pattern", "format", "contentEncoding", "multipleOf", "uniqueItems", "const")
_RULES = ("oneOf", "allOf", "not", "if")
_BRANCHES = ("then", "else")
_JSON_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_ABSENT = object()


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return every break from `old` to `new`, each as `path: what`."""
    return _Comparison(old, new).run()


def topic_breaks(old: Schema, new: Schema) -> list[str]:
    """Return the breaks between two `topics.json`: whatever consumers and stored data depend on must not change."""
    found = []
    present = {topic["name"]: topic for topic in new["topics"]}
    for topic in old["topics"]:
        name = topic["name"]
        if name not in present:
            found.append(f"{name}: topic removed")
            continue
        for field in ("key", "value", "cleanup", "partitions"):
            if topic[field] != present[name][field]:
                found.append(f"{name}.{field}: {topic[field]} became {present[name][field]}")
        before, after = topic["retention_ms"], present[name]["retention_ms"]
        if after is not None and (before is None or after < before):
            found.append(f"{name}.retention_ms: {before} shortened to {after}")
    return found


class _Comparison:
    """Walks both schemas together. It compares each pair of definitions once."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._found: list[str] = []
        self._entered: set[tuple[int, int]] = set()

    def run(self) -> list[str]:
        self._node("$", self._old, self._new)
        return self._found

    def _add(self, path: str, what: str) -> None:
        self._found.append(f"{path}: {what}")

    def _node(self, path: str, old: Schema, new: Schema) -> None:
        if old.get("default", _ABSENT) != new.get("default", _ABSENT) and "default" in old:
            self._add(path, f"default changed from {_text(old['default'])}")
        old_branches, new_branches = _branches(self._old, old), _branches(self._new, new)
        for kind, branch in old_branches.items():
            # A number may also be an integer.
            match = new_branches.get(kind) or (new_branches.get("number") if kind == "integer" else None)
            if match is None:
                self._add(path, f"type narrowed, {kind} is no longer allowed")
            else:
                self._branch(path, branch, match)

    def _branch(self, path: str, old: Schema, new: Schema) -> None:
        pair = (id(old), id(new))
        if pair in self._entered:
            return
        self._entered.add(pair)
        self._scalars(path, old, new)
        self._rules(path, old, new)
        self._fields(path, old, new)
        for key in ("items", "additionalProperties"):
            before, after = old.get(key, True), new.get(key, True)
            if after is False and before is not False:
                self._add(path, f"{key} closed")
            elif isinstance(before, dict) and isinstance(after, dict):
                self._node(f"{path}[]", before, after)
            elif isinstance(after, dict):
                self._add(path, f"{key} narrowed to {_text(after)}")
        before_items, after_items = old.get("prefixItems", []), new.get("prefixItems", [])
        if len(before_items) != len(after_items):
            self._add(path, "number of prefixItems changed")
        for place, (before, after) in enumerate(zip(before_items, after_items, strict=False)):
            self._node(f"{path}[{place}]", before, after)

    def _scalars(self, path: str, old: Schema, new: Schema) -> None:
        for key in _LOWER:
            if key in new and new[key] > old.get(key, float("-inf")):
                self._add(path, f"{key} narrowed from {_text(old.get(key))} to {_text(new[key])}")
        for key in _UPPER:
            if key in new and new[key] < old.get(key, float("inf")):
                self._add(path, f"{key} narrowed from {_text(old.get(key))} to {_text(new[key])}")
        for key in _EXACT:
            if key in new and new[key] != old.get(key, _ABSENT):
                self._add(path, f"{key} changed from {_text(old.get(key))} to {_text(new[key])}")
        if "enum" in new:
            lost = [value for value in old.get("enum", ["anything else"]) if value not in new["enum"]]
            if lost:
                self._add(path, f"enum narrowed, without {', '.join(map(str, lost))}")

    def _rules(self, path: str, old: Schema, new: Schema) -> None:
        for key in _RULES:
            if old.get(key) != new.get(key):
                self._add(path, f"rule {key} changed")
        for key in _BRANCHES:  # under one condition, a branch may become wider like any other part
            if (key in old) != (key in new):
                self._add(path, f"rule {key} changed")
            elif key in old:
                self._found += [f"{path}: rule {key} changed, {what}" for what in breaks(old[key], new[key])]

    def _fields(self, path: str, old: Schema, new: Schema) -> None:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in before:
            if name not in after:
                self._add(f"{path}.{name}", "field removed")
            else:
                self._node(f"{path}.{name}", before[name], after[name])
        for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
            self._add(f"{path}.{name}", "field became required" if name in before else "new required field")
        for name in sorted(set(old.get("required", [])) - set(new.get("required", []))):
            if name in after:
                self._add(f"{path}.{name}", "field is no longer always there")


def _branches(root: Schema, node: Schema) -> dict[str, Schema]:
    """Return what a node allows, by JSON type, with references resolved. Several objects are told apart by title."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return _branches(root, root["$defs"][name])
    if "anyOf" in node:
        found: dict[str, Schema] = {}
        for option in node["anyOf"]:
            for kind, branch in _branches(root, option).items():
                found[f"{kind} {branch.get('title', '')}".strip() if kind in found else kind] = branch
        return found
    kinds = node.get("type")
    if kinds is None:
        kinds = sorted({_type_of(value) for value in node["enum"]} if "enum" in node else _JSON_TYPES)
    return dict.fromkeys([kinds] if isinstance(kinds, str) else kinds, node)


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", type(None): "null", list: "array", dict: "object"}
    return names[type(value)]


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
