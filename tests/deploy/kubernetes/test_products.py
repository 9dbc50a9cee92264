"""The component with the products worker: one replica, confined as the other workers, with the port of its settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from groknet.cli.command_table import full_names
from groknet.run.compose import _DRAIN_MARGIN_S, PRODUCTS_DRAIN_S
from tests.deploy.kubernetes.manifests import FOLDER, built, kustomize, named, pods
from workers.products import ProductsSettings


def test_the_component_adds_one_confined_worker(tmp_path: Path) -> None:
    if kustomize() is None:
        pytest.skip("not run: neither kustomize nor kubectl is installed")
    copy = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, copy)
    file = copy / "cpu" / "kustomization.yaml"
    text = yaml.safe_load(file.read_text("utf-8"))
    text["components"] = [*text["components"], "../components/products"]
    file.write_text(yaml.safe_dump(text), "utf-8")
    docs = built(file.parent)
    spec = named(docs, "Deployment", "groknet-products")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    found = pods(docs)
    pod, tagger = found["groknet-products"], found["groknet-tagger"]
    container, other = pod["containers"][0], tagger["containers"][0]
    assert " ".join(container["args"]) in set(full_names())
    assert container["args"] == ["run", "products"]
    assert container["ports"][0]["containerPort"] == ProductsSettings().port
    assert {one["name"] for one in container["env"]} == {"GROKNET__PRODUCTS__HOST"}
    for name in ("image", "securityContext", "livenessProbe", "readinessProbe", "startupProbe", "envFrom"):
        assert container[name] == other[name], name
    assert pod["securityContext"] == tagger["securityContext"]
    assert pod["terminationGracePeriodSeconds"] > PRODUCTS_DRAIN_S + _DRAIN_MARGIN_S
    labels = spec["template"]["metadata"]["labels"]
    assert {"groknet/kafka-client", "groknet/cassandra-client"} <= set(labels)
    assert "groknet/photo-client" not in labels
