"""Writes the reference page of `stream.url` and `store.url` from the types that read them.

`python -m groknet.home.address_options > docs/reference/addresses.md`; a test compares the page with this.

It reads the source of the types, because importing them needs the packages of Kafka and Cassandra.
"""

from __future__ import annotations

import ast
import re
import sys
from importlib.resources import files
from typing import NamedTuple

_HEAD = """\
# Addresses of stream and store

`stream.url` and `store.url` in `HOME/groknet.toml` choose the back ends. This page is generated from the types that
read them: `python -m groknet.home.address_options > docs/reference/addresses.md`.

Both take `USER:PASSWORD@` before the servers. Percent-encode what is not a letter, a digit or one of `-._~`. A password
is better kept in a file, which `password_file` names; then write `USER@` alone. `groknet config` and all messages show
`***` for passwords.
"""
_PAGES = (
    (
        "Kafka",
        "workers.streams",
        "kafka",
        "KafkaSettings",
        "kafka://USER:PASSWORD@HOST:PORT,HOST:PORT?option=value",
        {"servers"},
        "kafka://shop@10.0.0.1:9093,10.0.0.2:9093?security=SASL_SSL&password_file=/run/secrets/kafka&ca_file=/etc/ca.pem",
    ),
    (
        "Cassandra",
        "workers.stores",
        "cassandra",
        "CassandraSettings",
        "cassandra://USER:PASSWORD@HOST:PORT,HOST:PORT/KEYSPACE?option=value",
        {"servers", "keyspace", "user", "password"},
        "cassandra://shop@10.0.0.1/shop?password_file=/run/secrets/cassandra&tls=true&ca_file=/etc/ca.pem",
    ),
)
_EMBEDDED = """\
## Embedded
Without an address a home has an embedded stream and store: `sqlite:///ABSOLUTE/PATH/stream.db` and
`sqlite:///ABSOLUTE/PATH/store.db`. The stream takes `lease_s`, the seconds after which a silent member loses its
partitions.
"""
_KINDS = {"str": "text", "bool": "`true` or `false`", "int": "whole number", "float": "number"}


class _Option(NamedTuple):
    name: str
    kind: str
    default: str
    text: str


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD]
    for title, package, folder, kind, shape, in_place, example in _PAGES:
        source = files(package).joinpath(folder, "_settings.py").read_text("utf-8")
        rows = [
            f"| `{o.name}` | {o.kind} | {o.default} | {o.text} |" for o in _options(ast.parse(source), kind, in_place)
        ]
        table = "\n".join(["| option | value | default | what it is |", "|---|---|---|---|", *rows])
        parts.append(f"## {title}\n`{shape}`\n\nFor example:\n\n```\n{example}\n```\n\n{table}\n")
    return "\n".join([*parts, _EMBEDDED])


def _options(module: ast.Module, kind: str, in_place: set[str]) -> list[_Option]:
    """The options of a class; those in `in_place` stand before the `?`."""
    types = {
        node.targets[0].id: ast.unparse(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    (found,) = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == kind)
    options = []
    for node, following in zip(found.body, [*found.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.target.id in in_place:
            continue
        written = ast.unparse(node.annotation)
        default = "" if node.value is None else _default(node.value)
        options.append(
            _Option(
                node.target.id,
                _words(types.get(written, written)),
                f"`{default}`" if default else "",
                _docstring(following),
            )
        )
    return options


def _default(node: ast.expr) -> str:
    """A default as a URL has it; empty for none."""
    if not isinstance(node, ast.Constant):
        return _number(str(_product(ast.unparse(node))))
    value = node.value
    return str(value).lower() if isinstance(value, bool) else "" if value is None else _number(str(value))


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _words(annotation: str) -> str:
    """What a value may be, in words, from the source of its type."""
    annotation = annotation.removesuffix(" | None")
    if choices := re.fullmatch(r"Literal\[(.*)\]", annotation):
        return ", ".join(f"`{ast.literal_eval(choice)}`" for choice in choices[1].split(", "))
    if bounded := re.fullmatch(r"Annotated\[(\w+), Meta\(ge=(.+), le=(.+)\)\]", annotation):
        least, most = (_number(str(_product(text))) for text in bounded.groups()[1:])
        return f"{_KINDS[bounded[1]]} from {least} to {most}"
    return _KINDS[annotation]


def _product(text: str) -> float:
    """A number or a product of numbers, as it is written in the source."""
    product = 1.0
    for factor in text.split("*"):
        product *= float(ast.literal_eval(factor.strip()))
    return product


def _number(text: str) -> str:
    """Without a fraction that is zero."""
    return text.removesuffix(".0")


if __name__ == "__main__":
    sys.stdout.write(page())
