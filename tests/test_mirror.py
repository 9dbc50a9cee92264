"""The tests mirror the rooms: whoever knows a module's name knows the name of its test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.elsewhere import ELSEWHERE, Elsewhere

ROOT = Path(__file__).parents[1]
ROOMS = ("schemas", "engines", "workers", "training", "groknet")
SHORT_LINES = 40  # a module that is no longer is tested by those that use it


def has_public_functions(path: Path) -> bool:
    """Whether the module defines a public function, or a public class that has a public method."""
    for node in ast.parse(path.read_text()).body:
        members = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        for member in members:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_"):
                return True
    return False


@cache
def modules(root: Path) -> tuple[str, ...]:
    """The modules that need a test: paths below `root`."""
    return tuple(_modules(root))


def _modules(root: Path) -> Iterator[str]:
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


def test_a_module_without_a_test_is_found(tmp_path: Path) -> None:
    """The rule in a small tree: by name, by name and topic, through the room of a private module, and not at all."""
    long = "\n" * (SHORT_LINES + 1)
    files = {
        "workers/a/named.py": f"def f(): ...{long}",
        "workers/a/topical.py": f"class C:\n    def f(self): ...{long}",
        "workers/a/lonely.py": f"def f(): ...{long}",
        "workers/a/short.py": "def f(): ...",
        "workers/a/silent.py": f"def _f(): ...{long}",
        "workers/a/_own.py": f"def f(): ...{long}",
        "workers/a/_reached/deep.py": f"def f(): ...{long}",
        "workers/b/_alone.py": f"def f(): ...{long}",
        "tests/workers/a/test_named.py": "from workers.a.named import f",
        "tests/workers/a/test_topical_more.py": "",
        "tests/workers/b/test_else.py": "import workers.bank",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    missing = [module for module in modules(tmp_path) if not is_found(tmp_path, module)]
    assert missing == ["workers/a/lonely.py", "workers/b/_alone.py"]
    assert {"workers/a/short.py", "workers/a/silent.py"}.isdisjoint(modules(tmp_path))
