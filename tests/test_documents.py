"""What the documents promise is there: links, commands with their options, files, functions, modules and extras."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from groknet.cli.app import build_app
from schemas.events import decode_event

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
DOCUMENTS += sorted((ROOT / "training").glob("*.md"))
MOST_WORDS = 1_000  # of the README: a stranger reads it to the end
MAKE_VARIABLES = {"PHOTOS", "KEEP", "ARGS", "PYTHON"}

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
)


def _anchor(heading: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in one of some languages; '' is a block that names none."""
    found = re.findall(r"^```([\w+-]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language in languages]


def _shell_lines(text: str) -> list[list[str]]:
    """The words of every line of shell blocks, without comments, variables before a command, and `&` behind it."""
    lines = [line for block in _blocks(text, "sh", "") for line in block.splitlines()]
    commands = []
    for line in lines:
        try:
            words = [word for word in shlex.split(line, comments=True) if word != "&"]
        except ValueError:  # a drawing, no command
            continue
        while words and re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):
            words.pop(0)
        commands.append(words)
    return [words for words in commands if words]


def _inline(text: str, command: str) -> list[list[str]]:
    """The words of every `command …` within a sentence."""
    found = re.findall(rf"`{command} ([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [shlex.split(words) for words in found]


def _refusal(words: list[str]) -> str:
    """What the command line says against some words; nothing where it would start the command."""
    try:
        build_app(words).parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _defined(path: Path) -> set[str]:
    """The names that a module defines: functions, classes, constants, and members of classes as Class.member."""
    names: set[str] = set()

    def add(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(prefix + child.name)
                if isinstance(child, ast.ClassDef):
                    add(child, f"{child.name}.")
            elif isinstance(child, ast.Assign | ast.AnnAssign):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                names.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    add(ast.parse(path.read_text("utf-8")), "")
    return names


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        file = (document.parent / place).resolve() if place else document
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(_anchor, headings), target


@every_document
def test_commands_in_shell_blocks_are_accepted_with_their_options(document: Path) -> None:
    lines = [words[1:] for words in _shell_lines(document.read_text("utf-8")) if words[0] == "groknet"]
    assert {" ".join(words): why for words in lines if (why := _refusal(words))} == {}


@every_document
def test_commands_in_sentences_are_there(document: Path) -> None:
    """A sentence may leave out arguments, or write N for a number. It names only commands and options that exist."""
    lines = _inline(document.read_text("utf-8"), "groknet")
    assert {" ".join(words): why for words in lines if "Unknown" in (why := _refusal(words))} == {}


def test_a_command_that_is_not_there_is_found() -> None:
    assert "UnknownCommandError" in _refusal(["shwo", "x"])
    assert "UnknownOptionError" in _refusal(["show", "x", "--hoem", "y"])
    assert "MissingArgumentError" in _refusal(["show"])
    assert _refusal(["show", "x", "--home", "y"]) == ""


@every_document
def test_make_targets_and_variables_are_there(document: Path) -> None:
    text = document.read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in [*_inline(text, "make"), *(line[1:] for line in _shell_lines(text) if line[0] == "make")]:
        assert words[0] in targets, words
        assert {word.partition("=")[0] for word in words if re.match(r"[A-Z]+=", word)} <= MAKE_VARIABLES, words


@every_document
def test_modules_files_functions_and_extras_are_there(document: Path) -> None:
    text = document.read_text("utf-8")
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module) is not None, module
    for path, name in re.findall(r"`([\w./-]+\.py):([A-Za-z_][\w.]*)`", text):
        assert (ROOT / path).is_file(), path
        assert name in _defined(ROOT / path), f"{path}: {name}"
    rooms = "schemas|engines|workers|groknet|training|deploy|benchmarks|tests|docs"
    for path in re.findall(rf"`((?:{rooms})/[\w./-]+\.(?:py|md|toml|c|cu|json))`", text):
        assert (ROOT / path).exists(), path
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for named in re.findall(r"(?:groknet|'\.)\[([a-z,]+)\]", text):
        assert set(named.split(",")) <= extras.keys(), named


@every_document
def test_examples_in_json_are_events(document: Path) -> None:
    for block in _blocks(document.read_text("utf-8"), "json"):
        decode_event(block.encode())


def test_every_page_is_in_an_index() -> None:
    """A page is linked from docs/README.md, or from the README of its folder."""
    indexes = [*(ROOT / "docs").rglob("README.md")]
    linked = {
        (index.parent / target.partition("#")[0]).resolve()
        for index in indexes
        for target in re.findall(r"\]\(([^)\s]+)\)", index.read_text("utf-8"))
    }
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md")} - {ROOT / "docs" / "README.md"}
    assert sorted(page.relative_to(ROOT).as_posix() for page in pages - linked) == []


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").split()) < MOST_WORDS
