"""deploy/compose.yaml without an engine: it is well formed, and it is the same servers as `groknet services` starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import deploy.local
from deploy.local import ServicesSettings
from deploy.local.cassandra import configuration
from deploy.local.downloads.relock import SERVERS
from deploy.local.kafka import properties
from deploy.local.planning import plan

FILE = Path(deploy.local.__file__).parents[1] / "compose.yaml"
DURATION = {"type": "string", "pattern": r"^(\d+h)?(\d+m)?(\d+s)?$", "minLength": 2}
BYTES = {"type": "string", "pattern": r"^\d+[kmg]$"}
PORT = r"^127\.0\.0\.1:\$\{(?P<variable>GROKNET_[A-Z_]+):-(?P<default>\d+)\}:(?P<inside>\d+)$"
# Of the Compose specification, what the file uses; a key that is not here may be mistyped: an engine would refuse it.
SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "image",
        "hostname",
        "ports",
        "environment",
        "volumes",
        "mem_limit",
        "stop_grace_period",
        "healthcheck",
    ],
    "properties": {
        "image": {"type": "string", "pattern": r"^[a-z0-9./-]+:\d+\.\d+\.\d+$"},
        "hostname": {"type": "string", "pattern": "^[a-z0-9-]+$"},
        "ports": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": PORT}},
        "entrypoint": {"type": "array", "items": {"type": "string"}},
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "volumes": {"type": "array", "items": {"type": "string", "pattern": r"^[a-z]+:/[a-z/]+$"}},
        "mem_limit": BYTES,
        "stop_grace_period": DURATION,
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test", "interval", "timeout", "retries"],
            "properties": {
                "test": {"type": "array", "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}], "minItems": 2},
                "interval": DURATION,
                "timeout": DURATION,
                "retries": {"type": "integer", "minimum": 1},
            },
        },
    },
}
SPECIFICATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "services", "volumes"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9_-]+$"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
    },
}


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def test_it_is_as_the_specification_has_it(composed: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SPECIFICATION).validate(composed)
    mounted = {volume.partition(":")[0] for entry in composed["services"].values() for volume in entry["volumes"]}
    assert mounted == set(composed["volumes"])


def test_a_mistyped_key_is_found(composed: dict[str, Any]) -> None:
    kafka = {**composed["services"]["kafka"], "health_check": {}}
    wrong = {**composed, "services": {**composed["services"], "kafka": kafka}}
    with pytest.raises(jsonschema.ValidationError, match="health_check"):
        jsonschema.Draft202012Validator(SPECIFICATION).validate(wrong)


def test_it_runs_the_versions_that_are_pinned(composed: dict[str, Any]) -> None:
    versions = {server: coordinates[0].rpartition(":")[2] for server, coordinates in SERVERS.items()}
    assert {name: entry["image"].rpartition(":")[2] for name, entry in composed["services"].items()} == versions


def test_kafka_has_the_settings_of_one_local_broker(composed: dict[str, Any], tmp_path: Path) -> None:
    given = composed["services"]["kafka"]["environment"]
    state = plan(tmp_path, ServicesSettings())
    local = properties(state, state.servers[0], ServicesSettings())
    named = {f"KAFKA_{key.replace('.', '_').upper()}": value for key, value in local.items()}
    elsewhere = {name for name in given if name.endswith(("LISTENERS", "VOTERS", "LOG_DIRS"))}
    assert {name for name in given if name not in named} == {"KAFKA_HEAP_OPTS"}
    assert {name: given[name] for name in named.keys() & given.keys() - elsewhere} == {
        name: named[name] for name in named.keys() & given.keys() - elsewhere
    }
    replication = {name for name in named if name.endswith(("FACTOR", "MIN_ISR"))}
    assert replication - given.keys() == {"KAFKA_DEFAULT_REPLICATION_FACTOR"}  # the server's own is 1, too
    assert given["KAFKA_HEAP_OPTS"] == "-Xmx512m"


def test_clients_on_the_machine_are_told_the_port_that_is_published(composed: dict[str, Any]) -> None:
    kafka = composed["services"]["kafka"]
    published = re.fullmatch(PORT, kafka["ports"][0])
    assert published is not None
    place = kafka["ports"][0].rpartition(":")[0]
    listeners = dict(entry.split("://") for entry in kafka["environment"]["KAFKA_LISTENERS"].split(","))
    told = dict(entry.split("://") for entry in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert told["CLIENT"] == place
    assert listeners["CLIENT"] == f":{published['inside']}"
    assert told["INTERNAL"] == f"{kafka['hostname']}{listeners['INTERNAL']}"
    assert kafka["environment"]["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@{kafka['hostname']}{listeners['CONTROLLER']}"
    assert f"{kafka['hostname']}{listeners['INTERNAL']}" in kafka["healthcheck"]["test"]


def test_cassandra_has_the_settings_of_one_local_node(composed: dict[str, Any], tmp_path: Path) -> None:
    cassandra = composed["services"]["cassandra"]
    state = plan(tmp_path, ServicesSettings())
    node = next(server for server in state.servers if server.name.startswith("cassandra"))
    local = configuration(state, node, ServicesSettings())
    given = cassandra["environment"]
    assert given["CASSANDRA_CLUSTER_NAME"] == local["cluster_name"]
    assert given["CASSANDRA_NUM_TOKENS"] == str(local["num_tokens"])
    assert given["MAX_HEAP_SIZE"] == f"{ServicesSettings().cassandra_heap_mb}M"
    assert _edited(cassandra["entrypoint"], tmp_path) == f"commitlog_sync: {local['commitlog_sync']}\nother: 1\n"


def _edited(entrypoint: list[str], folder: Path) -> str:
    """What the entrypoint makes of the lines that the image's own configuration has."""
    file = folder / "cassandra.yaml"
    file.write_text("commitlog_sync: periodic\ncommitlog_sync_period: 10000ms\nother: 1\n", encoding="utf-8")
    edit, rest = entrypoint[2].replace("/etc/cassandra/cassandra.yaml", str(file)).split(" && ")
    assert rest == "exec docker-entrypoint.sh cassandra -f"
    subprocess.run([*entrypoint[:2], edit], check=True)
    return file.read_text(encoding="utf-8")


def _has_compose() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "compose", "version"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not _has_compose(), reason="Docker's client with its compose plugin is not installed")
def test_docker_reads_it() -> None:
    command = ["docker", "compose", "-f", str(FILE), "config", "--format", "json"]
    port = os.environ | {"GROKNET_KAFKA_PORT": "19092"}
    read = subprocess.run(command, check=False, capture_output=True, text=True, env=port)
    assert read.returncode == 0, read.stderr
    assert "127.0.0.1:19092" in read.stdout
