"""Every command, port, path, environment key and metric that the manifests name exists in the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from groknet.cli.command_table import full_names
from groknet.commands.operation import store, topics
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.run.compose import _DRAIN_MARGIN_S, INDEXER_DRAIN_S
from schemas.topics import TOPICS, UPLOADED
from tests.deploy.kubernetes.manifests import (
    FOLDER,
    Document,
    combined,
    documents,
    environment,
    every_value,
    kustomize,
    named,
    ours,
    pods,
)
from workers.http.serving import GRACE_S, Health, operations_routes
from workers.stores.cassandra._settings import parse_cassandra_url
from workers.streams.kafka._settings import parse_kafka_url
from workers.watching import metrics  # noqa: F401  # it declares them
from workers.watching.declared import DECLARED

PORTS = {"groknet-tagger": "tagger", "groknet-indexer": "indexer", "groknet-search": "search"}


@pytest.fixture(scope="module", params=[("cpu", "in-cluster"), ("gpu", "external")], ids="-".join)
def docs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    if kustomize() is None:
        pytest.skip("not run: neither kustomize nor kubectl is installed")
    return combined(tmp_path_factory.mktemp("built"), *request.param)


def config_of(docs: list[Document], place: Path) -> Any:
    """The configuration that the workers get; an unknown key or a wrong value would raise ConfigError."""
    given = {name: value or "2" for name, value in environment(docs).items()}
    return load_config(Home(place), given).config


def test_every_environment_key_is_a_setting(docs: list[Document], tmp_path: Path) -> None:
    config = config_of(docs, tmp_path)
    assert config.tagger.host == config.indexer.host == config.search.host == "0.0.0.0"
    assert parse_kafka_url(config.stream.url).servers
    assert parse_cassandra_url(config.store.url).keyspace == "groknet"


def test_the_values_of_the_secret_are_settings(tmp_path: Path) -> None:
    text = (FOLDER / "cpu/groknet.toml").read_text("utf-8")
    (tmp_path / "groknet.toml").write_text("\n".join(re.findall(r"^# (\[search\]|tokens = .*)$", text, re.MULTILINE)))
    assert load_config(Home(tmp_path), {}).config.search.tokens


def test_every_command_exists(docs: list[Document]) -> None:
    said = {" ".join(pod["containers"][0]["args"]) for pod in ours(docs).values()}
    assert said == {"run tagger", "run indexer", "run search", "store migrate", "topics apply"}
    assert "migrate" in set(store.app)
    assert "apply" in set(topics.app)
    assert {words for words in said if words.startswith("run")} <= set(full_names())


def test_ports_are_those_of_the_workers(docs: list[Document], tmp_path: Path) -> None:
    config = config_of(docs, tmp_path)
    for workload, section in PORTS.items():
        (port,) = pods(docs)[workload]["containers"][0]["ports"]
        assert port["containerPort"] == getattr(config, section).port
    for doc in docs:
        if doc["kind"] == "Service" and doc["metadata"]["name"] in PORTS:
            assert doc["spec"]["ports"][0]["port"] == getattr(config, PORTS[doc["metadata"]["name"]]).port
    assert list(config.search.indexer_urls) == [f"http://groknet-indexer:{config.indexer.port}"]
    assert "groknet-indexer" in config.indexer.allowed_hosts


def test_paths_are_routes(docs: list[Document]) -> None:
    routes = {route.path for route in operations_routes(Health(), "tagger")}
    named_paths = {value for pod in ours(docs).values() for key, value in every_value(pod) if key == "path"}
    monitor = named(docs, "PodMonitor", "groknet")["spec"]["podMetricsEndpoints"][0]["path"]
    assert {path for path in named_paths if not path.startswith("groknet")} | {monitor} == routes
    for name in PORTS:
        container = pods(docs)[name]["containers"][0]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_grace_is_longer_than_the_drain(docs: list[Document], tmp_path: Path) -> None:
    config = config_of(docs, tmp_path)
    found = pods(docs)
    assert found["groknet-tagger"]["terminationGracePeriodSeconds"] > config.tagger.drain_budget_s + _DRAIN_MARGIN_S
    assert found["groknet-indexer"]["terminationGracePeriodSeconds"] > INDEXER_DRAIN_S + _DRAIN_MARGIN_S
    search = found["groknet-search"]
    pause = search["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert search["terminationGracePeriodSeconds"] > pause + GRACE_S + INDEXER_DRAIN_S


def test_metrics_and_topics_of_the_scaler_exist(docs: list[Document]) -> None:
    spec = named(docs, "ScaledObject", "groknet-tagger")["spec"]
    (trigger,) = spec["triggers"]
    query, threshold = trigger["metadata"]["query"], trigger["metadata"]["threshold"]
    declared = set(DECLARED)
    assert set(re.findall(r"groknet_\w+", query)) <= declared
    assert re.findall(r'topic="([^"]+)"', query) == [UPLOADED]
    assert f"vector({threshold})" in query  # while workers hold, the value is the wanted one: nothing changes
    assert trigger["metricType"] == "Value"
    (uploads,) = (topic for topic in TOPICS if topic.name == UPLOADED)
    assert spec["maxReplicaCount"] == uploads.partitions
    assert "replicas" not in named(docs, "Deployment", "groknet-tagger")["spec"]


def test_every_pod_of_ours_is_confined(docs: list[Document]) -> None:
    assert len(ours(docs)) == 5
    for name, pod in pods(docs).items():
        container = pod["containers"][0]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert set(container["resources"]) == {"requests", "limits"}
        if name in ours(docs):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
    budgets = [doc["spec"]["selector"]["matchLabels"] for doc in docs if doc["kind"] == "PodDisruptionBudget"]
    assert {labels["app.kubernetes.io/name"] for labels in budgets} == set(PORTS)


def test_policies_open_the_ports_that_are_used(docs: list[Document], tmp_path: Path) -> None:
    config = config_of(docs, tmp_path)
    policies = {doc["metadata"]["name"]: doc["spec"] for doc in docs if doc["kind"] == "NetworkPolicy"}
    assert policies["groknet-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    kafka = {int(server.rpartition(":")[2]) for server in parse_kafka_url(config.stream.url).servers}
    cassandra = {port for _, port in parse_cassandra_url(config.store.url).servers}
    for name, ports in (("groknet-kafka", kafka), ("groknet-cassandra", cassandra)):
        assert {entry["port"] for rule in policies[name]["egress"] for entry in rule["ports"]} == ports
    for name in ("groknet-search-to-indexer", "groknet-indexer-from-search"):
        rule = (policies[name].get("egress") or policies[name]["ingress"])[0]
        assert rule["ports"] == [{"protocol": "TCP", "port": config.indexer.port}]


def test_kafka_and_cassandra_are_those_of_compose() -> None:
    """But for the listeners, whose names differ, and the folder, which lies inside a volume here."""
    composed = yaml.safe_load((FOLDER.parent / "compose.yaml").read_text("utf-8"))["services"]
    places = ("LISTENERS", "VOTERS", "LOG_DIRS", "PROTOCOL_MAP", "LISTENER_NAME")
    for server in ("kafka", "cassandra"):
        (container,) = named(documents(), "StatefulSet", f"groknet-{server}")["spec"]["template"]["spec"]["containers"]
        given = {entry["name"]: entry["value"] for entry in container["env"]}
        wanted = composed[server]["environment"]
        assert container["image"] == composed[server]["image"]
        assert _without(given, places) == _without(wanted, places)


def _without(values: dict[str, str], ends: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in values.items() if not name.endswith(ends)}
