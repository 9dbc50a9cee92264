"""Which module imports which, and the circles among them: inside a room, and between its parts.

Imports are read from the source, those inside functions included. An import under `if TYPE_CHECKING:` does not count,
as it never runs. Nor does a package's own `__init__`, which Python runs before every module of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = Mapping[str, frozenset[str]]
"""Module → the modules of the same room that it imports."""


def import_graph(root: Path, room: str) -> Graph:
    """The modules of the room `root / room` by dotted name, and which of them each one imports."""
    files = {
        _name(path.relative_to(root)): path for path in (root / room).rglob("*.py") if "__pycache__" not in path.parts
    }
    return {
        name: frozenset(_imported(ast.parse(path.read_text(encoding="utf-8")), files)) - {name}
        for name, path in files.items()
    }


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(node: ast.AST, known: Mapping[str, Path]) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in known)
        elif isinstance(child, ast.ImportFrom) and child.module:
            for alias in child.names:
                name = f"{child.module}.{alias.name}"
                yield from (module for module in (name if name in known else child.module,) if module in known)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _imported(other, known)
        else:
            yield from _imported(child, known)


def circles(graph: Graph) -> list[list[str]]:
    """Groups of modules of which each reaches every other: each group sorted by name, and the groups as well."""
    reached = {name: _reached(graph, name) for name in graph}
    groups = {
        tuple(sorted({name} | {other for other in reached[name] if name in reached.get(other, ())}))
        for name in graph
        if name in reached[name]
    }
    return sorted(list(group) for group in groups)


def _reached(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += graph.get(name, ())
    return seen


def parts_of(graph: Graph, package: str) -> Graph:
    """The package seen from above: each of its modules and sub-packages as one box, arrows between boxes alone."""
    boxes: dict[str, set[str]] = {}
    depth = package.count(".") + 2
    for name, imported in graph.items():
        if not name.startswith(f"{package}."):
            continue
        box = ".".join(name.split(".")[:depth])
        inside = {".".join(other.split(".")[:depth]) for other in imported if other.startswith(f"{package}.")}
        boxes.setdefault(box, set()).update(inside - {box})
    return {box: frozenset(others) for box, others in boxes.items()}


def all_circles(root: Path, room: str) -> list[list[str]]:
    """Circles between modules of the room, and between the boxes of the room and of every package in it."""
    graph = import_graph(root, room)
    packages = {name.rpartition(".")[0] for name in graph} - {""}
    found = [circles(graph), *(circles(parts_of(graph, package)) for package in sorted(packages))]
    return [list(circle) for circle in sorted({tuple(circle) for some in found for circle in some})]
