"""The manifests fit the schemas of Kubernetes and KEDA, in every combination, without a cluster."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from tests.deploy.kubernetes.manifests import FOLDER, Document, built, combined, documents, kustomize, named

VERSION = "1.32"
CUSTOM = {"ScaledObject", "PodMonitor", "Kustomization", "Component"}
pytestmark = pytest.mark.slow  # the schemas of Kubernetes are large
needs_kustomize = pytest.mark.skipif(
    kustomize() is None,
    reason="not run: no combination of components was built, because neither kustomize nor kubectl is installed",
)

# Of KEDA's ScaledObject (keda.sh/v1alpha1), what the file uses. A key that is not here may be mistyped.
_POLICY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["stabilizationWindowSeconds", "policies"],
    "properties": {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "policies": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["type", "value", "periodSeconds"],
                "properties": {
                    "type": {"enum": ["Pods", "Percent"]},
                    "value": {"type": "integer", "minimum": 1},
                    "periodSeconds": {"type": "integer", "minimum": 1, "maximum": 1800},
                },
            },
        },
    },
}
SCALED_OBJECT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["scaleTargetRef", "triggers"],
    "properties": {
        "scaleTargetRef": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {"name": {"type": "string"}},
        },
        "minReplicaCount": {"type": "integer", "minimum": 0},
        "maxReplicaCount": {"type": "integer", "minimum": 1},
        "pollingInterval": {"type": "integer", "minimum": 1},
        "advanced": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "horizontalPodAutoscalerConfig": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "behavior": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {"scaleUp": _POLICY, "scaleDown": _POLICY},
                        }
                    },
                }
            },
        },
        "triggers": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["type", "metadata"],
                "properties": {
                    "type": {"const": "prometheus"},
                    "metricType": {"enum": ["Value", "AverageValue"]},
                    "metadata": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["serverAddress", "query", "threshold"],
                        "properties": {
                            "serverAddress": {"type": "string", "pattern": r"^https?://[a-z.-]+:\d+$"},
                            "query": {"type": "string"},
                            "threshold": {"type": "string", "pattern": r"^\d+$"},
                            "ignoreNullValues": {"enum": ["true", "false"]},
                        },
                    },
                },
            },
        },
    },
}


def check(docs: list[Document]) -> set[str]:
    """Validate all documents that Kubernetes itself knows, strictly. Returns the kinds of the others."""
    other = set()
    for doc in docs:
        if doc["kind"] in CUSTOM:
            other.add(doc["kind"])
        else:
            kubernetes_validate.validate(doc, VERSION, strict=True)
    return other


@needs_kustomize
@pytest.mark.parametrize("services", ["in-cluster", "external"])
@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_every_combination_fits_the_schemas(tmp_path: Path, overlay: str, services: str) -> None:
    docs = combined(tmp_path, overlay, services)
    assert check(docs) == {"ScaledObject", "PodMonitor"}
    assert {doc["metadata"]["namespace"] for doc in docs if doc["kind"] != "Namespace"} == {"groknet"}


@needs_kustomize
@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_the_overlays_build_as_they_are(overlay: str) -> None:
    check(built(FOLDER / overlay))


def test_every_file_fits_the_schemas_without_kustomize() -> None:
    whole = [
        doc for doc in documents() if "spec" not in doc or doc["kind"] != "Deployment" or "selector" in doc["spec"]
    ]
    assert check(whole) == {"ScaledObject", "PodMonitor"}


def test_a_mistyped_key_is_found() -> None:
    tagger = named(documents()[::-1], "Job", "groknet-topics")
    tagger["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        check([tagger])


def test_the_scaler_is_as_keda_has_it() -> None:
    jsonschema.Draft202012Validator(SCALED_OBJECT).validate(
        named(documents(), "ScaledObject", "groknet-tagger")["spec"]
    )
