"""Which of the two libraries is meant, and what it says when it fails: they return None or False and write a line."""

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
    """An imported library; `log` holds the last error line of whatever was made with it."""

    name: str
    version: str
    module: Any
    log: Any

    def refused(self, what: str) -> BundleRefused:
        """The error for a call that returned None or False: `what` failed, and the library's own last line."""
        return BundleRefused(f"{what}: {self.name} {self.version} refused ({self.log.last or 'it gave no reason'})")

    @property
    def out_of_memory(self) -> bool:
        """Whether the last error line speaks of memory."""
        return "memory" in self.log.last.lower()


def load_library(name: str) -> Library:
    """Import `tensorrt` or `tensorrt_rtx`; raises ConfigError with the remedy when it is not installed whole."""
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
        """The library's lines to `logging`; an error is kept, since whoever sees the call fail raises it."""

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
    """Whether a line only marks where the reason was printed, or says that there is no driver, which a build without
    a GPU says beside every other error."""
    return "cudaError 35" in line or line.startswith(("ModelImporter.cpp", "---", "Node name"))
