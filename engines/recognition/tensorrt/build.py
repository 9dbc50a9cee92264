"""Builds a plan from a bundle, and writes it into a folder with its manifest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engines.gpu.driver import Device
from engines.gpu.profiles import Profiles
from engines.recognition.gpu_graph import prepare
from engines.recognition.interface import GraphBundle
from engines.recognition.tensorrt.cache import EngineCache
from engines.recognition.tensorrt.library import Library
from engines.recognition.tensorrt.manifest import EngineManifest, cache_key, ranges
from engines.recognition.tensorrt.plan import build_plan
from schemas.manifest import MODEL_FILE


def build(
    bundle: GraphBundle,
    library: Library,
    folder: Path,
    *,
    profiles: Profiles,
    target: str,
    device: Device | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[str, EngineManifest]:
    """Compile the bundle's graph in its own precision, and write the plan into `folder`.

    Args:
        bundle: a loaded bundle.
        library: TensorRT or TensorRT for RTX.
        folder: made if it is missing; a plan of the same key is replaced.
        profiles: batch sizes.
        target: one of `plan.targets(library)`.
        device: this machine's GPU, for the target `this` only.
        progress: called with the share that is done, 0..1.

    Returns:
        The plan's key in the folder, and its manifest.

    Raises:
        ConfigError: the library does not build for the target.
        BundleRefused: the library refuses the graph.
        ModuleNotFoundError: `onnx` is not installed.
    """
    import onnx

    started = time.monotonic()
    model = onnx.load(bundle.model_path)
    manifest = bundle.manifest
    plan = build_plan(library, prepare(model, manifest).SerializeToString(), profiles, target, progress)
    engine = msgspec.convert(
        {
            "library": library.name,
            "library_version": library.version,
            "target": target,
            "device": device,
            "precision": manifest.precision,
            "profiles": ranges(profiles),
            "onnx_sha256": manifest.files[MODEL_FILE],
            "bundle": manifest.name,
            "model_version": manifest.model_version,
            "epoch": manifest.epoch,
            "tensors": plan.tensors,
            "plan_sha256": hashlib.sha256(plan.data).hexdigest(),
            "plan_bytes": len(plan.data),
            "built": datetime.now(UTC).isoformat(timespec="seconds"),
            "build_seconds": round(time.monotonic() - started, 2),
        },
        EngineManifest,
    )
    key = cache_key(library, manifest, profiles, target=target, device=device)
    EngineCache(folder).write(key, plan.data, engine)
    return key, engine
