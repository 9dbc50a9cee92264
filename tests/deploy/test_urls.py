"""The addresses that `groknet services up` prints: right, complete, and without a password."""

from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from deploy.local import ServicesSettings, urls
from deploy.local.cassandra import configuration
from deploy.local.kafka import format_command, properties
from deploy.local.planning import plan
from groknet.cli.exits import CommandError
from groknet.commands.operation.services import write_urls

SECURED = ServicesSettings(kafka_protocol="SASL_SSL", cassandra_auth=True, cassandra_tls=True)


def test_without_passwords_an_address_is_servers_alone(tmp_path: Path) -> None:
    state = plan(tmp_path, ServicesSettings(brokers=3, nodes=1))
    places = ",".join(state.bootstrap)
    assert urls(state) == {
        "stream": f"kafka://{places}",
        "store": f"cassandra://127.0.0.1:{state.cassandra_port}/groknet",
    }
    assert set(urls(plan(tmp_path, ServicesSettings(brokers=0)))) == {"store"}


def test_passwords_are_in_files_of_their_owner(tmp_path: Path) -> None:
    state = plan(tmp_path / "a home", SECURED)
    state.security.ca_file = str(tmp_path / "a home" / "ca.pem")
    found = urls(state)
    for name, password in (("stream", state.security.kafka_password), ("store", state.security.cassandra_password)):
        parts = urlsplit(found[name])
        assert (parts.username, parts.password) == ("groknet" if name == "stream" else "cassandra", None)
        options = parse_qs(parts.query)
        file = Path(options["password_file"][0])
        assert file.read_text() == f"{password}\n"
        assert file.stat().st_mode & 0o777 == 0o600
        assert options["ca_file"] == [state.security.ca_file]
    assert state.security.kafka_password not in found["stream"]
    assert state.security.cassandra_password not in found["store"]


def test_the_readers_take_these_addresses(tmp_path: Path) -> None:
    pytest.importorskip("kafka")
    pytest.importorskip("cassandra")
    from workers.stores.cassandra import parse_cassandra_url
    from workers.streams.kafka._settings import parse_kafka_url

    state = plan(tmp_path, SECURED)
    found = urls(state)
    kafka, cassandra = parse_kafka_url(found["stream"]), parse_cassandra_url(found["store"])
    assert (kafka.security, kafka.user) == ("SASL_SSL", "groknet")
    assert kafka.client_options()["sasl_plain_password"] == state.security.kafka_password
    assert (cassandra.user, cassandra.keyspace) == ("cassandra", "groknet")
    assert cassandra.secret() == state.security.cassandra_password


def test_they_are_written_into_the_configuration_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "groknet.toml"
    file.write_text("# mine\n[search]\nport = 1\n")
    wanted = {"stream": "kafka://a", "store": "cassandra://b/k"}
    for _ in range(2):
        write_urls(file, wanted)
        assert tomllib.loads(file.read_text()) == {
            "search": {"port": 1},
            **{name: {"url": url} for name, url in wanted.items()},
        }
    assert file.read_text().startswith("# mine\n")
    with pytest.raises(CommandError, match=r"\[store\] is there already; set its url to cassandra://c/k"):
        write_urls(file, {"store": "cassandra://c/k"})


def test_no_password_is_on_the_command_line_that_formats_a_broker(tmp_path: Path) -> None:
    state = plan(tmp_path, SECURED)
    server = state.servers[0]
    Path(server.folder).mkdir(parents=True)
    command = format_command(Path("/java"), server, state.cluster_id, state.security)
    file = Path(command[1].removeprefix("@"))
    assert len(command) == 2
    assert file.stat().st_mode & 0o777 == 0o600
    assert f'"SCRAM-SHA-512=[name=groknet,password={state.security.kafka_password}]"' in file.read_text()


def test_with_a_password_every_listener_asks_and_rules_are_in_force(tmp_path: Path) -> None:
    state = plan(tmp_path, SECURED)
    kafka = properties(state, state.servers[0], SECURED)
    listeners = kafka["listener.security.protocol.map"].split(",")
    assert [entry.split(":")[1].startswith("SASL") for entry in listeners] == [True, True, True]
    assert kafka["authorizer.class.name"].endswith("StandardAuthorizer")
    assert kafka["super.users"] == "User:groknet"
    cassandra = configuration(state, state.servers[1], SECURED)
    assert (cassandra["authenticator"], cassandra["authorizer"]) == ("PasswordAuthenticator", "CassandraAuthorizer")
    open_ = plan(tmp_path, ServicesSettings())
    assert "authorizer.class.name" not in properties(open_, open_.servers[0], ServicesSettings())
