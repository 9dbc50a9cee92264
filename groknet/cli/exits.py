"""Exit codes, which scripts can rely on. `groknet --help` prints this table."""

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
    Exit.OK: "success; with --wait, the outcome of every listing is known",
    Exit.FAILED: "failure; stderr says what failed",
    Exit.USAGE: "wrong command line, configuration or bundle; do not retry",
    Exit.NOT_RUNNING: "a service that the command needs does not answer; retry later",
    Exit.NOT_FOUND: "no such listing, photo, folder or bundle",
    Exit.UNKNOWN_OUTCOME: "--wait gave up on a listing (status 'timeout')",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
}


class CommandError(GroknetError):
    """A command cannot go on. The message is one sentence with the remedy; `code` is the exit code."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: GroknetError) -> Exit:
    """The exit code for an error that our own code raised."""
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
    """The exit codes and their meanings, one a line, for the help."""
    return "\n".join(f"{code.value:>4}  {meaning}" for code, meaning in MEANING.items())
