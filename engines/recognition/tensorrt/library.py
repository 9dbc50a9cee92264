"""Imports one of the two libraries, and keeps its last error line: a failed call only returns None or False."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from typing import Any

from schemas.errors import BundleRefused, ConfigError

_log = logging.getLogger(__name__)

LIBRARIES = ("tensorrt", "tensorrt_rtx")
_REMEDY = {
    "tensorrt": "its libraries come from NVIDIA's own index: install it as NVIDIA's documentation says",
    "tensorrt_rtx": "pip install 'groknet[rtx]'",
}


@dataclass(frozen=True)
class Library:
    """An imported library. `log.last` is the last error line of anything made with it."""

    name: str
    version: str
    module: Any
    log: Any

    def refused(self, what: str) -> BundleRefused:
        """Return the error for a call that returned None or False: `what` failed, with the library's last line."""
        return BundleRefused(f"{what}: {self.name} {self.version} refused ({self.log.last or 'it gave no reason'})")

    @property
    def out_of_memory(self) -> bool:
        """Whether the last error line is about memory."""
        return "memory" in self.log.last.lower()


def load_library(name: str) -> Library:
    """Import `tensorrt` or `tensorrt_rtx`. Raises ConfigError with the remedy if it is missing or incomplete."""
    if name not in LIBRARIES:
        raise ConfigError(f"backend: {name!r} is not one of {', '.join(LIBRARIES)}")
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a shared library of it is missing
        raise ConfigError(f"backend: {name} cannot be imported ({error}); {_REMEDY[name]}") from None
    if not hasattr(module, "Builder"):
        raise ConfigError(f"backend: the package {name} holds no library; {_REMEDY[name]}")
    return Library(name, str(module.__version__), module, _logger(module))


def _logger(module: Any) -> Any:
    severity = module.ILogger.Severity
    levels = {severity.WARNING: logging.WARNING, severity.INFO: logging.DEBUG, severity.VERBOSE: logging.DEBUG}

    class Logger(module.ILogger):  # type: ignore[misc]  # the base class is of the library that is installed
        """Sends the library's lines to `logging`, and keeps the last error for the caller that sees the failure."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)  # bound classes insist on their own constructor
            self.last = ""

        def log(self, level: Any, text: str) -> None:
            line = " ".join(text.split())
            if level not in levels and not _is_echo(line):
                self.last = line[:400]
            _log.log(levels.get(level, logging.DEBUG), "%s", line)

    return Logger()


def _is_echo(line: str) -> bool:
    """Whether a line gives no reason: it only points at another line, or says that there is no driver, which a build
    without a GPU adds to every error."""
    return "cudaError 35" in line or line.startswith(("ModelImporter.cpp", "---", "Node name"))
