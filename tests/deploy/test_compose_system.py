"""deploy/compose.system.yaml without an engine: Compose's schema, confinement, and names that exist in the code."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import deploy
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.run.compose import _DRAIN_MARGIN_S

FOLDER = Path(deploy.__file__).parent
WORKERS = ("tagger", "indexer", "search", "products")
ROOTS_OF_IMAGES = {"kafka", "cassandra"}  # their entrypoints write their own configuration


def read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text("utf-8")))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The specification's own schema, which check-jsonschema brings."""
    vendored = files("check_jsonschema").joinpath("builtin_schemas", "vendor", "compose-spec.json")
    return dict(json.loads(vendored.read_text("utf-8")))


@pytest.fixture(scope="module")
def system() -> dict[str, Any]:
    """Both files, merged by service as Compose merges them; no key is in both."""
    first, second = read("compose.yaml"), read("compose.system.yaml")
    for name, more in second["services"].items():
        present = first["services"].setdefault(name, {})
        assert not present.keys() & more.keys()
        present.update(more)
    first["volumes"] |= second["volumes"]
    return {**first, "secrets": second["secrets"]}


@pytest.mark.parametrize("name", ["compose.yaml", "compose.system.yaml"])
def test_it_fits_the_schema_of_compose(schema: dict[str, Any], name: str) -> None:
    jsonschema.Draft202012Validator(schema).validate(read(name))


def test_a_mistyped_key_is_found(schema: dict[str, Any]) -> None:
    wrong = read("compose.system.yaml")
    wrong["services"]["tagger"]["cap_dropped"] = ["ALL"]
    with pytest.raises(jsonschema.ValidationError, match="cap_dropped"):
        jsonschema.Draft202012Validator(schema).validate(wrong)


def test_every_service_is_confined(system: dict[str, Any]) -> None:
    for name, service in system["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert service.get("read_only") is (None if name in ROOTS_OF_IMAGES else True), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert not service["image"].endswith(":latest"), name


def test_volumes_secrets_and_files_are_there(system: dict[str, Any]) -> None:
    used = set()
    for service in system["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (FOLDER / source).exists(), source
            else:
                used.add(source)
    assert used == set(system["volumes"])
    entries = [entry for service in system["services"].values() for entry in service.get("secrets", [])]
    asked = {entry if isinstance(entry, str) else entry["source"] for entry in entries}
    assert asked == set(system["secrets"])


@pytest.mark.parametrize("worker", WORKERS)
def test_every_environment_key_is_a_setting(system: dict[str, Any], worker: str, tmp_path: Path) -> None:
    service = system["services"][worker]
    config = load_config(Home(tmp_path), service["environment"]).config
    section = getattr(config, worker)
    assert section.host == "0.0.0.0"
    assert service["command"] == ["run", worker]
    listeners = system["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INTERNAL://{config.stream.url.removeprefix('kafka://')}" in listeners
    assert service.get("profiles") == (["products"] if worker == "products" else None), "the others run always"
    assert float(service["stop_grace_period"].removesuffix("s")) > config.tagger.drain_budget_s + _DRAIN_MARGIN_S
    if worker == "search":
        assert list(section.indexer_urls) == [f"http://indexer:{config.indexer.port}"]
        assert service["ports"][0].endswith(f":{section.port}")


def test_prometheus_asks_the_workers_where_they_listen(tmp_path: Path) -> None:
    config = load_config(Home(tmp_path), {}).config
    (job,) = read("compose/prometheus.yaml")["scrape_configs"]
    asked = {entry["names"][0]: entry["port"] for entry in job["dns_sd_configs"]}
    assert asked == {worker: getattr(config, worker).port for worker in WORKERS}
    assert job["job_name"] == "groknet"
    assert {entry["target_label"] for entry in job["relabel_configs"]} == {"worker", "name"}


def test_grafana_has_the_dashboards_and_the_datasource(system: dict[str, Any]) -> None:
    mounts = dict(volume.split(":")[:2] for volume in system["services"]["grafana"]["volumes"])
    (provider,) = read("operations/grafana/provisioning/dashboards/groknet.yaml")["providers"]
    assert mounts["./operations/grafana/dashboards"] == provider["options"]["path"]
    ours, local = read("compose/datasource.yaml"), read("operations/grafana/provisioning/datasources/groknet.yaml")
    assert ours["datasources"][0] == {**local["datasources"][0], "url": "http://prometheus:9090"}
