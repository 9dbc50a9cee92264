"""`groknet services`: run real Kafka and Cassandra on this machine. Only Python is needed."""

from __future__ import annotations

import time
import tomllib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from deploy.local import ChoiceError, Protocol, Server, Services, ServicesError, ServicesSettings, ServicesState, urls
from engines.files import write_file
from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note, stderr, stdout
from groknet.home.paths import find_home

app = App(
    name="services",
    help="Run real Kafka and Cassandra on this machine. Only Python is needed.",
    help_format="plaintext",
)

_DEFAULTS = ServicesSettings()
_FOLLOW_EVERY_S = 0.2

CacheOption = Annotated[
    Path | None,
    Parameter(
        name="--cache", help="Folder for the downloaded servers, shared by all homes. Default: ~/.cache/groknet."
    ),
]


def _choice(name: str, text: str) -> Parameter:
    return Parameter(name=name, help=text, negative=())


@app.command
def up(
    *,
    home: HomeOption = None,
    brokers: Annotated[
        int | None, _choice("--brokers", "Number of Kafka brokers: 0, 1 or 3. A new home has 1.")
    ] = None,
    nodes: Annotated[int | None, _choice("--nodes", "Number of Cassandra nodes: 0, 1 or 3. A new home has 1.")] = None,
    kafka_port: Annotated[int | None, _choice("--kafka-port", "Default: 9092, or a free port.")] = None,
    cassandra_port: Annotated[int | None, _choice("--cassandra-port", "Default: 9042, or a free port.")] = None,
    kafka_heap_mb: Annotated[
        int | None, _choice("--kafka-heap-mb", "Heap of each broker, in MB. Default: 512, or 320 with three brokers.")
    ] = None,
    cassandra_heap_mb: Annotated[
        int, _choice("--cassandra-heap-mb", "Heap of each node, in MB.")
    ] = _DEFAULTS.cassandra_heap_mb,
    kafka_protocol: Annotated[
        Protocol | None,
        _choice("--kafka-protocol", "Protocol for clients. With SASL a password is generated; see services.json."),
    ] = None,
    cassandra_auth: Annotated[bool, _choice("--cassandra-auth", "Require a password from clients.")] = False,
    cassandra_tls: Annotated[bool, _choice("--cassandra-tls", "Accept TLS connections only.")] = False,
    start_timeout_s: Annotated[
        float, _choice("--start-timeout-s", "Seconds that each server may take to start.")
    ] = _DEFAULTS.start_timeout_s,
    cache: CacheOption = None,
    write_config: Annotated[
        bool, _choice("--write-config", "Write both addresses into HOME/groknet.toml, so that workers use them.")
    ] = False,
    json: JsonOption = False,
) -> Exit:
    """Start the servers that do not run yet, and wait until all of them answer. They run until `groknet services down`.

    The first start downloads the servers: 115 MB, verified with pinned checksums. A home keeps its number of servers,
    its ports and its data. Programs find the addresses in HOME/services.json.

    At the end it prints what to write into HOME/groknet.toml. Passwords are in files that these addresses name.
    """
    settings = ServicesSettings(
        brokers=brokers,
        nodes=nodes,
        kafka_port=kafka_port,
        cassandra_port=cassandra_port,
        kafka_heap_mb=kafka_heap_mb,
        cassandra_heap_mb=cassandra_heap_mb,
        kafka_protocol=kafka_protocol,
        cassandra_auth=cassandra_auth or None,
        cassandra_tls=cassandra_tls or None,
        start_timeout_s=start_timeout_s,
    )
    with _progress() as say, _steering():
        place = find_home(home).make()
        state = Services(place.root, settings, cache=cache, say=say).up()
    sections = urls(state)
    _show(state, json, sections)
    if write_config:
        write_urls(place.config_file, sections)
        note(f"written to {place.config_file}; next: `groknet store migrate --home {place.root}`")
    elif not json:
        stdout().print(f"\nTo use them, write this into {place.config_file}, or add --write-config:\n{_toml(sections)}")
    return Exit.OK


def write_urls(file: Path, sections: dict[str, str]) -> None:
    """Add `url` in these sections to a configuration file.

    Raises:
        CommandError: the file cannot be read, or has such a section with another address.
    """
    try:
        text = file.read_text("utf-8") if file.exists() else ""
        present = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CommandError(f"{file}: cannot be read as TOML: {error}", Exit.USAGE) from None
    missing = {name: url for name, url in sections.items() if present.get(name, {}).get("url") != url}
    for name in missing.keys() & present.keys():
        raise CommandError(f"{file}: [{name}] is there already; set its url to {missing[name]}", Exit.USAGE)
    if missing:
        write_file(file, f"{text.rstrip()}\n\n{_toml(missing)}".lstrip())


def _toml(sections: dict[str, str]) -> str:
    return "\n".join(f'[{name}]\nurl = "{url}"\n' for name, url in sections.items())


@app.command
def down(*, home: HomeOption = None) -> Exit:
    """Stop every server of the home: first with TERM, after 20 s with KILL. The data is kept."""
    with _progress() as say, _steering():
        names = Services(find_home(home).root, say=say).down()
    note(f"stopped {', '.join(names)}" if names else "nothing runs on this home")
    return Exit.OK


@app.command
def status(*, home: HomeOption = None, json: JsonOption = False) -> Exit:
    """Show which servers run, their addresses and their memory. The exit code is 3 unless every server answers."""
    with _steering():
        services = Services(find_home(home).root)
        state, left = services.status(), services.left_over()
    for sentence in left:
        note(f"left over: {sentence}; `groknet services down --home {services.home}` stops it")
    if state is None:
        text = f"{services.home} has no services; start some: `groknet services up --home {services.home}`"
        raise CommandError(text, Exit.NOT_RUNNING)
    _show(state, json, urls(state))
    return Exit.OK if all(server.state == "ready" for server in state.servers) else Exit.NOT_RUNNING


@app.command
def logs(
    names: Annotated[list[str] | None, Parameter(help="kafka-1, cassandra-1 and so on. Default: all servers.")] = None,
    /,
    *,
    home: HomeOption = None,
    lines: Annotated[int, _choice("--lines", "Number of lines from each log.")] = 20,
    follow: Annotated[bool, _choice("--follow", "Print new lines until Ctrl-C.")] = False,
) -> Exit:
    """Show the last lines of the servers' logs. Each line begins with the name of its server."""
    services = Services(find_home(home).root)
    with _steering():
        state = services.status()
    servers = [] if state is None else state.servers
    unknown = set(names or ()) - {server.name for server in servers}
    if not servers or unknown:
        what = f"{', '.join(sorted(unknown))}: no such server" if unknown else "there are no services"
        raise CommandError(f"{what} on {services.home}; see `groknet services status`", Exit.NOT_FOUND)
    chosen = [server for server in servers if not names or server.name in names]
    ends = {(server.name, Path(log)): 0 for server in chosen for log in server.logs}
    _print_new(ends, lines)
    while follow:
        time.sleep(_FOLLOW_EVERY_S)
        _print_new(ends, None)
    return Exit.OK


def _print_new(ends: dict[tuple[str, Path], int], last: int | None) -> None:
    """Print the lines that were added to each file since it was last read, at most the `last` ones."""
    for (name, path), end in list(ends.items()):
        if not path.exists():
            continue
        start = end if path.stat().st_size >= end else 0  # rolled over
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        ends[name, path] = start + len(whole)
        for line in deque(whole.decode("utf-8", "replace").splitlines(), last):
            print(f"{name}: {shown(line)}", flush=True)


def _show(state: ServicesState, json: bool, sections: dict[str, str]) -> None:
    if json:
        json_line({**_without_passwords(state), "urls": sections})
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("server", "state", "address", "process", "memory"):
        table.add_column(heading)
    for server in state.servers:
        table.add_row(server.name, server.state, f"{server.host}:{server.ports['client']}", *_numbers(server))
    stdout().print(table)


def _without_passwords(state: ServicesState) -> dict[str, Any]:
    """For the terminal and its logs; programs read them from HOME/services.json, which is for its owner alone."""
    plain: dict[str, Any] = msgspec.to_builtins(state)
    for key, value in plain["security"].items():
        if key.endswith("password") and value is not None:
            plain["security"][key] = "***"
    return plain


def _numbers(server: Server) -> tuple[str, str]:
    return ("", "") if server.pid is None else (str(server.pid), f"{server.resident_bytes / 1e6:.0f} MB")


@contextmanager
def _steering() -> Iterator[None]:
    """Turn errors of the services into errors of the command line."""
    try:
        yield
    except ServicesError as error:
        code = Exit.USAGE if isinstance(error, ChoiceError) else Exit.FAILED
        raise CommandError(str(error), code) from None


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Print one line for each step. On a terminal, show the present step with a spinner."""
    console = stderr()
    if not console.is_terminal:
        yield note
        return
    with console.status("services") as line:

        def say(text: str) -> None:
            if text.startswith("waiting"):
                line.update(text)
            else:
                console.print(text)

        yield say
