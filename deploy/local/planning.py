"""Plans a home's servers: names, addresses, ports and passwords. They are chosen once and then kept."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from deploy.local.errors import ChoiceError
from deploy.local.settings import Security, Server, ServicesSettings, ServicesState
from deploy.local.system.ports import free_ports, holder, is_free

_KAFKA_PORT, _CASSANDRA_PORT = 9092, 9042  # the usual ports of clients
_COUNTS = (0, 1, 3)  # with two, neither can continue when the other is down


def plan(home: Path, settings: ServicesSettings) -> ServicesState:
    """Plan the servers of a new home. Raises ChoiceError if a named port is taken or a number is not possible."""
    brokers = _count("brokers", settings.brokers)
    nodes = _count("nodes", settings.nodes)
    addresses = [f"127.0.0.{number}" for number in range(1, nodes + 1)]
    _check_addresses(addresses)
    free = free_ports(addresses or ["127.0.0.1"], home, ())  # one search, so that no port is given twice
    client = _client_ports(settings.kafka_port, _KAFKA_PORT, ["127.0.0.1"], brokers, free)
    native = _client_ports(settings.cassandra_port, _CASSANDRA_PORT, addresses, min(nodes, 1), free)
    servers = [
        _server(home, f"kafka-{number}", "127.0.0.1", client=port, internal=next(free), controller=next(free))
        for number, port in enumerate(client, 1)
    ]
    storage = next(free)
    servers += [
        _server(home, f"cassandra-{number}", address, client=native[0], internal=storage)
        for number, address in enumerate(addresses, 1)
    ]
    state = ServicesState(
        home=str(home),
        cluster_id=base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22].replace("-", "_"),
        bootstrap=[],
        contact_points=[],
        cassandra_port=None,
        security=_security(settings),
        servers=servers,
    )
    _tell_addresses(state)
    return state


def adopt(
    state: ServicesState, settings: ServicesSettings, running: Collection[str], say: Callable[[str], None]
) -> ServicesState:
    """Return the servers of an existing home, on free ports. `say` gets a line for each port that had to change.

    Raises:
        ChoiceError: other servers are asked for than the home has, or a taken port cannot change.
    """
    has = {kind: sum(server.name.startswith(kind) for server in state.servers) for kind in ("kafka", "cassandra")}
    security = state.security
    choices: Iterable[tuple[str, object, object]] = (
        ("brokers", settings.brokers, has["kafka"]),
        ("nodes", settings.nodes, has["cassandra"]),
        ("kafka_protocol", settings.kafka_protocol, security.kafka_protocol),
        ("cassandra_auth", settings.cassandra_auth, security.cassandra_user is not None),
        ("cassandra_tls", settings.cassandra_tls, security.cassandra_tls),
    )
    for name, wanted, present in choices:
        if wanted is not None and wanted != present:
            text = f"{state.home} was made with {name} {present}, not {wanted}"
            raise ChoiceError(f"{text}; use another --home, or stop it and remove its services and services.json")
    for option, kind, port in (
        ("--kafka-port", "kafka", settings.kafka_port),
        ("--cassandra-port", "cassandra", settings.cassandra_port),
    ):
        _move(state, option, kind, port, running)
    _free_ports(state, settings, running, say)
    return state


def _move(state: ServicesState, option: str, kind: str, port: int | None, running: Collection[str]) -> None:
    """Set the client port of one kind of server to the requested port."""
    servers = [server for server in state.servers if server.name.startswith(kind)]
    if port is None or not servers or servers[0].ports["client"] == port:
        return
    if any(server.name in running for server in servers):
        raise ChoiceError(f"{option} {port}: {servers[0].name} runs on {servers[0].ports['client']}; stop it first")
    for number, server in enumerate(servers):
        server.ports["client"] = port + (number if kind == "kafka" else 0)


def _free_ports(
    state: ServicesState, settings: ServicesSettings, running: Collection[str], say: Callable[[str], None]
) -> None:
    """Give new ports to servers whose ports are taken, if no client relies on the old ones."""
    for server in state.servers:
        kind = server.name.partition("-")[0]
        named = settings.kafka_port if kind == "kafka" else settings.cassandra_port
        peers = [entry for entry in state.servers if entry.name.startswith(kind)]
        alone = not any(entry.name in running for entry in peers) and (kind == "kafka" or len(peers) == 1)
        for use, port in server.ports.items():
            if server.name in running or is_free(server.host, port):
                continue
            text = f"port {port} of {server.name} is taken by {holder(port)}"
            if not alone or (use == "client" and named is not None):
                raise ChoiceError(f"{text}; stop that, or name another port or --home")
            taken = {number for entry in state.servers for number in entry.ports.values()}
            server.ports[use] = next(free_ports([server.host], Path(state.home), taken))
            say(f"{text}; it moves to {server.ports[use]}")
    _tell_addresses(state)


def _tell_addresses(state: ServicesState) -> None:
    """Derive the clients' addresses from the servers."""
    brokers = [server for server in state.servers if server.name.startswith("kafka")]
    nodes = [server for server in state.servers if server.name.startswith("cassandra")]
    state.bootstrap = [f"{server.host}:{server.ports['client']}" for server in brokers]
    state.contact_points = [server.host for server in nodes]
    state.cassandra_port = nodes[0].ports["client"] if nodes else None


def _count(name: str, wanted: int | None) -> int:
    count = 1 if wanted is None else wanted
    if count not in _COUNTS:
        raise ChoiceError(f"--{name} {count}: can be 0, 1 or 3")
    return count


def _check_addresses(addresses: Iterable[str]) -> None:
    for address in addresses:
        if not is_free(address, 0):
            text = f"the address {address} is not there, which a node of its own needs"
            raise ChoiceError(f"{text}; add it (macOS: `sudo ifconfig lo0 alias {address}`) or use --nodes 1")


def _client_ports(wanted: int | None, usual: int, hosts: Sequence[str], count: int, free: Iterator[int]) -> list[int]:
    """Return one port for each server: the requested ones, or the usual ones, or free ones."""
    ports = range(wanted or usual, (wanted or usual) + count)
    taken = [port for port in ports if not all(is_free(host, port) for host in hosts)]
    if not taken:
        return list(ports)
    if wanted is not None:
        raise ChoiceError(f"port {taken[0]} is taken by {holder(taken[0])}; stop that, or name another port")
    return [next(free) for _ in range(count)]


def _server(home: Path, name: str, host: str, **ports: int) -> Server:
    folder, logs = home / "services" / name, home / "services" / "logs"
    return Server(
        name=name,
        host=host,
        ports=ports,
        folder=str(folder),
        logs=[str(logs / f"{name}.log"), str(logs / f"{name}.out")],
    )


def _security(settings: ServicesSettings) -> Security:
    protocol = settings.kafka_protocol or "PLAINTEXT"
    sasl = protocol.startswith("SASL")
    return Security(
        kafka_protocol=protocol,
        kafka_user="groknet" if sasl else None,
        kafka_password=secrets.token_urlsafe(16) if sasl else None,
        cassandra_user="cassandra" if settings.cassandra_auth else None,
        cassandra_password=secrets.token_urlsafe(16) if settings.cassandra_auth else None,  # set at the first start
        cassandra_tls=bool(settings.cassandra_tls),
        store_password=secrets.token_urlsafe(16),
    )
