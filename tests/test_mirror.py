"""The tests mirror the rooms: whoever knows a module's name knows the name of its test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("schemas", "engines", "workers", "training", "groknet")
SHORT_LINES = 40  # a module that is no longer is tested by those that use it


class Elsewhere(NamedTuple):
    """Modules that have no test of their own name: the test that checks them, and why it is there."""

    test: str
    reason: str
    modules: tuple[str, ...]


ELSEWHERE: tuple[Elsewhere, ...] = ()


def has_public_functions(path: Path) -> bool:
    """Whether the module defines a public function, or a public class that has a public method."""
    for node in ast.parse(path.read_text()).body:
        members = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        for member in members:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_"):
                return True
    return False


def modules(root: Path) -> Iterator[str]:
    """The modules that need a test: paths below `root`."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            if path.stem.startswith("__") or len(path.read_text().splitlines()) <= SHORT_LINES:
                continue
            if has_public_functions(path):
                yield path.relative_to(root).as_posix()


def imports_room(test: Path, room: str) -> bool:
    """Whether a test imports something of the room, a dotted name."""
    tree = ast.parse(test.read_text())
    found = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    found += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return any(f"{name}.".startswith(f"{room}.") for name in found)


def is_found(root: Path, module: str) -> bool:
    """The rule of CONTRIBUTING.md: `test_NAME.py` or `test_NAME_*.py` in the folder that mirrors the module's, without
    the `_` of a private module; a private module may also be tested through the public room that it belongs to."""
    path = Path(module)
    folder, name = root / "tests" / path.parent, path.stem.lstrip("_")
    if (folder / f"test_{name}.py").exists() or any(folder.glob(f"test_{name}_*.py")):
        return True
    private = next((i for i, part in enumerate(path.parts) if part.startswith("_")), None)
    if private is None:
        return False
    room = path.parts[:private]
    tests = root.joinpath("tests", *room).glob("test_*.py")
    return any(imports_room(test, ".".join(room)) for test in tests)


def test_a_modules_test_is_found_by_its_name() -> None:
    excepted = {module for elsewhere in ELSEWHERE for module in elsewhere.modules}
    missing = [module for module in modules(ROOT) if module not in excepted and not is_found(ROOT, module)]
    assert missing == [], "CONTRIBUTING.md says where a module's test is"


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=[elsewhere.test for elsewhere in ELSEWHERE])
def test_an_exception_is_needed_and_names_a_test(elsewhere: Elsewhere) -> None:
    assert (ROOT / elsewhere.test).exists()
    assert set(elsewhere.modules) <= set(modules(ROOT))
    assert [module for module in elsewhere.modules if is_found(ROOT, module)] == []
    assert list(elsewhere.modules) == sorted(elsewhere.modules)
