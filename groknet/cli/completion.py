"""`groknet --install-completion`: completion of commands and options in a shell."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.completion import ShellDetectionError

from groknet.cli.app import build_app
from groknet.cli.command_table import COMMANDS, Command
from groknet.cli.exits import CommandError, Exit
from groknet.cli.terminal import note

Shell = Literal["bash", "zsh", "fish", "powershell"]


def install_completion(
    *,
    shell: Annotated[Shell | None, Parameter(help="Shell to install for. Default: the present one.")] = None,
    output: Annotated[
        Path | None,
        Parameter(help="Write the script to this file and change nothing else. Default: where the shell looks for it."),
    ] = None,
) -> Exit:
    """Install completion of commands and options, then open a new shell to use it.

    Commands whose packages are not installed are not completed. Run this again after you install an extra, or a newer
    groknet.
    """
    try:
        path = complete_app().install_completion(shell=shell, output=output, add_to_startup=output is None)
    except ShellDetectionError:
        raise CommandError("the shell is not known; name it, for example with --shell bash", Exit.USAGE) from None
    note(f"completion is installed in {path}; open a new shell to use it")
    return Exit.OK


def complete_app() -> App:
    """The command line without the commands whose packages are not installed: a script names options as well, so
    every command is imported for it."""
    return build_app([], without={name for name, entry in COMMANDS.items() if not _can_be_imported(entry)})


def _can_be_imported(entry: object) -> bool:
    if not isinstance(entry, Command):
        return True
    try:
        import_module(entry.target.partition(":")[0])
    except ImportError:
        return False
    return True
