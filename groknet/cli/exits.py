"""Exit codes: what a script may lean on. `groknet --help` prints this table."""

from __future__ import annotations

from enum import IntEnum

from schemas.errors import BundleRefused, ConfigError, GroknetError, TooManyDeadLetters, Transient


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_FOUND = 4
    UNKNOWN_OUTCOME = 5
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "done; submit and remove: sent, and with --wait every outcome known",
    Exit.FAILED: "a fault; the sentence on stderr names it",
    Exit.USAGE: "command line, configuration or bundle unusable; nothing was done (a worker: stop, do not restart)",
    Exit.NOT_RUNNING: "a service that the command needs does not answer",
    Exit.NOT_FOUND: "no such listing, photo, folder or bundle",
    Exit.UNKNOWN_OUTCOME: "--wait gave up on at least one listing (status 'timeout')",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
}


class CommandError(GroknetError):
    """A command cannot go on; its text is one sentence with the remedy, `code` what the shell sees."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: GroknetError) -> Exit:
    """The exit code of an error that was raised on purpose."""
    match error:
        case CommandError():
            return error.code
        case ConfigError() | BundleRefused() | TooManyDeadLetters():
            return Exit.USAGE
        case Transient():
            return Exit.NOT_RUNNING
        case _:
            return Exit.FAILED


def table() -> str:
    """The table of codes as lines of text, for help."""
    return "\n".join(f"{code.value:>4}  {meaning}" for code, meaning in MEANING.items())
