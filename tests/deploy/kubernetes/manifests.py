"""Builds the manifests with kustomize, as `kubectl apply -k` does, for every combination of their components."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import deploy

FOLDER = Path(deploy.__file__).parent / "kubernetes"
Document = dict[str, Any]


def kustomize() -> list[str] | None:
    """The command that builds a folder, or None if this machine has none."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


def built(folder: Path) -> list[Document]:
    """Every document that kustomize makes of a folder."""
    command = kustomize()
    assert command is not None
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def combined(place: Path, overlay: str, services: str) -> list[Document]:
    """What an overlay (`cpu`, `gpu`) gives with one of the two places of Kafka and Cassandra, and with all else."""
    copy = place / "kubernetes"
    if not copy.exists():
        shutil.copytree(FOLDER, copy)
    file = copy / overlay / "kustomization.yaml"
    text = yaml.safe_load((FOLDER / overlay / "kustomization.yaml").read_text("utf-8"))
    text["components"] = [f"../components/{name}" for name in (services, "monitoring", "keda")]
    file.write_text(yaml.safe_dump(text), "utf-8")
    return built(file.parent)


def files() -> list[Path]:
    """Every manifest in the repository."""
    return sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml")


def documents() -> list[Document]:
    """Every document of every file, as written."""
    found = [doc for path in files() for doc in yaml.safe_load_all(path.read_text("utf-8"))]
    return [doc for doc in found if isinstance(doc, dict)]


def pods(docs: list[Document]) -> dict[str, Document]:
    """The pod of each workload, by the workload's name."""
    kinds = ("Deployment", "StatefulSet", "Job")
    return {doc["metadata"]["name"]: doc["spec"]["template"]["spec"] for doc in docs if doc["kind"] in kinds}


def ours(docs: list[Document]) -> dict[str, Document]:
    """Those pods that run our image."""
    return {name: pod for name, pod in pods(docs).items() if "groknet" in pod["containers"][0]["image"]}


def named(docs: list[Document], kind: str, name: str) -> Document:
    """The document of a kind and a name."""
    (found,) = (doc for doc in docs if doc["kind"] == kind and doc["metadata"]["name"] == name)
    return found


def every_value(node: object) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from every_value(value)
    elif isinstance(node, list):
        for value in node:
            yield from every_value(value)


def environment(docs: list[Document]) -> dict[str, str]:
    """Every environment variable that configures our workers; empty where the value comes from the pod itself."""
    found: dict[str, str] = {}
    for doc in docs:
        if doc["kind"] == "ConfigMap":
            found |= {key: str(value) for key, value in doc["data"].items()}
    for pod in ours(docs).values():
        for entry in pod["containers"][0].get("env", []):
            found[entry["name"]] = str(entry.get("value", ""))
    return {name: value for name, value in found.items() if name.startswith("GROKNET")}
