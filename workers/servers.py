"""Reads what the URLs of Kafka and Cassandra have in common: servers, options, a password file and TLS files."""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

from schemas.errors import ConfigError

_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/@]+)(?::(?P<port>\d{1,5}))?")


def read_servers(text: str, key: str, *, default_port: int, shape: str) -> tuple[tuple[str, int], ...]:
    """The hosts and ports of `HOST:PORT,HOST:PORT`. An IPv6 address keeps its brackets.

    Raises:
        ConfigError: the text has another form than `shape`. The message names `key`, the setting with the URL.
    """
    found = []
    for place in text.split(","):
        match = _SERVER.fullmatch(place.strip())
        port = int(match["port"] or default_port) if match else 0
        if match is None or not 0 < port < 65536:
            raise ConfigError(f"{key}: {place!r} is not HOST:PORT; write {shape}")
        found.append((match["host"], port))
    return tuple(found)


def read_options(query: str, key: str, *, known: str, never: Collection[str]) -> dict[str, str]:
    """The options after `?`. `never`: settings that are not options. `known`: the names of the options, for messages.

    Raises:
        ConfigError: an option is given twice, or does not exist.
    """
    options = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in options]
    for name in names:
        if names.count(name) > 1 or name in never:
            raise ConfigError(f"{key}: option {name!r} is given twice or not an option; options: {known}")
    return dict(options)


def read_password(file: str, key: str) -> str:
    """The first line of a password file. Raises ConfigError if it cannot be read."""
    try:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: password_file {file} cannot be read: {error}") from None


def tls_context(key: str, *, ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """The TLS context from PEM files. Without `ca_file` it trusts the system's authorities. Raises ConfigError if a
    file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        if cert_file:
            context.load_cert_chain(cert_file, key_file or None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(name for name in (ca_file, cert_file, key_file) if name)
        raise ConfigError(f"{key}: {files}: {error}; ca_file, cert_file and key_file are PEM files") from None
    return context


class _Silence:
    """Turns loggers off while at least one thread connects."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._levels: dict[str, int] = {}
        self._askers: Counter[str] = Counter()

    def begin(self, logger: str) -> None:
        with self._lock:
            if not self._askers[logger]:
                self._levels[logger] = logging.getLogger(logger).level
                logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
            self._askers[logger] += 1

    def end(self, logger: str) -> None:
        with self._lock:
            self._askers[logger] -= 1
            if not self._askers[logger]:
                logging.getLogger(logger).setLevel(self._levels[logger])


_silence = _Silence()


@contextmanager
def silenced(logger: str) -> Iterator[None]:
    """Turn a client's logger off during the block: it writes a line for each try, but our error says it once."""
    _silence.begin(logger)
    try:
        yield
    finally:
        _silence.end(logger)
