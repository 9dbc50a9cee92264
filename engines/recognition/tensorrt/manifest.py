"""A plan's manifest: everything that decides whether this machine and this bundle may use the plan."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engines.gpu.driver import Device
from engines.gpu.profiles import Profiles
from engines.recognition.interface import GraphBundle, GraphManifest
from engines.recognition.tensorrt.library import Library
from engines.recognition.tensorrt.plan import PORTABLE, Tensor
from schemas.hashes import Epoch
from schemas.manifest import MODEL_FILE, Sha256, Strict


class ProfileRange(Strict, frozen=True, kw_only=True):
    """One profile: it takes `min` to `max` photos and is fastest at `opt`."""

    min: int
    opt: int
    max: int


class ParityReport(Strict, frozen=True, kw_only=True):
    """The result of the parity photos on a GPU: `ok`, or the reason; on which device, and when."""

    ok: bool
    reason: str = ""
    device: Device
    checked: str


class EngineManifest(Strict, frozen=True, kw_only=True):
    """`<key>.json`, which names its plan by sha256.

    `target` is `portable`, a compute capability, or `this`; then `device` names the GPU that it was built on.
    `onnx_sha256` is that of the bundle's `model.onnx`. `parity` is absent until a GPU has run the parity photos.
    """

    format_version: Literal[1] = 1
    library: Literal["tensorrt", "tensorrt_rtx"]
    library_version: str
    target: str
    device: Device | None = None
    precision: Literal["fp32", "fp16", "int8"]
    profiles: Annotated[list[ProfileRange], Meta(min_length=1)]
    onnx_sha256: Sha256
    bundle: str
    model_version: str
    epoch: Epoch
    tensors: list[Tensor]
    plan_sha256: Sha256
    plan_bytes: int
    built: str
    build_seconds: float
    parity: ParityReport | None = None

    @property
    def batches(self) -> Profiles:
        """The batch sizes of the profiles."""
        return Profiles(tuple(profile.max for profile in self.profiles))


def ranges(profiles: Profiles) -> list[ProfileRange]:
    """Return the profiles in the manifest's form."""
    return [ProfileRange(min=1, opt=batch, max=batch) for batch in profiles.batches]


def cache_key(
    library: Library, bundle: GraphManifest, profiles: Profiles, *, target: str, device: Device | None
) -> str:
    """Return 16 hex digits over everything that a plan depends on.

    The plan's bytes are not part of it, because two builds of one graph differ in bytes.
    """
    where = f"{device.name}/{device.capability}" if device else ""
    graph = [bundle.files[MODEL_FILE], bundle.precision, str(bundle.top_k)]
    parts = [library.name, library.version, target, where, *graph, str(profiles.batches)]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def misfit(engine: EngineManifest, library: Library, device: Device, bundle: GraphBundle) -> str:
    """Return why `engine` may not be used here, or an empty text. The library never sees a plan that does not fit."""
    return _of_another_machine(engine, library, device) or of_another_bundle(engine, bundle.manifest)


def of_another_bundle(engine: EngineManifest, bundle: GraphManifest) -> str:
    """Return why `engine` was not built from `bundle`, or an empty text."""
    if engine.epoch != bundle.epoch:
        return f"epoch: its hashes are of epoch {engine.epoch}, the bundle's of {bundle.epoch}"
    if engine.model_version != bundle.model_version:
        return f"model_version: built from {engine.model_version}, and the bundle is {bundle.model_version}"
    if engine.onnx_sha256 != bundle.files[MODEL_FILE]:
        return f"onnx_sha256: built from another {MODEL_FILE} than the bundle's"
    return ""


def _of_another_machine(engine: EngineManifest, library: Library, device: Device) -> str:
    if engine.library != library.name:
        return f"library: built with {engine.library}, and this is {library.name}; neither reads the other's"
    if engine.library_version != library.version:
        return f"library_version: built with {engine.library_version}, and {library.version} is installed"
    if engine.device is not None and engine.device != device:
        was, here = engine.device, device
        return f"device: built on {was.name} ({was.capability}), and this is {here.name} ({here.capability})"
    if engine.device is None and engine.target not in (PORTABLE, device.capability):
        return f"target: built for {engine.target}, and this is {device.name} ({device.capability})"
    return ""
