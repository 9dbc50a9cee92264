"""Plans on disk, each with a manifest. They are written whole or not at all, and checked before use."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from engines.files import write_file
from engines.gpu.driver import Device
from engines.recognition.interface import GraphBundle
from engines.recognition.tensorrt.library import Library
from engines.recognition.tensorrt.manifest import EngineManifest, misfit
from schemas.errors import BundleRefused

FOLDER = "engines"
"""The subfolder of a bundle with plans that were built ahead of time."""


def default_cache() -> Path:
    """Return the folder for plans that are built at start: the user's cache, as the XDG base directories name it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groknet" / FOLDER


class EngineCache:
    """A folder with one `<key>.json` for each plan, which names the plan by its sha256.

    Several processes may use it. A file appears whole, and a manifest after its plan. Two builds of one key never mix,
    because their plans differ in bytes and therefore in name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plan_path(self, manifest: EngineManifest) -> Path:
        """Return the path of a manifest's plan, whether it exists or not."""
        return self.folder / f"{manifest.plan_sha256[:16]}.plan"

    def write(self, key: str, plan: bytes, manifest: EngineManifest) -> Path:
        """Write the plan, then its manifest, and return the plan's path. Replaces a plan of the same key."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.manifests().get(key)
        path = self.plan_path(manifest)
        write_file(path, plan, sync=True, shared=True)
        self.write_manifest(key, manifest)
        if before is not None and self.plan_path(before) != path:
            self.plan_path(before).unlink(missing_ok=True)
        return path

    def write_manifest(self, key: str, manifest: EngineManifest) -> None:
        """Write only the manifest, for example after a GPU has checked parity."""
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
        write_file(self.folder / f"{key}.json", text, sync=True, shared=True)

    def manifests(self) -> dict[str, EngineManifest]:
        """Return every manifest of the folder by key, in order. Raises BundleRefused if one cannot be read."""
        found = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                found[path.stem] = msgspec.json.decode(path.read_bytes(), type=EngineManifest)
            except (OSError, msgspec.DecodeError) as error:
                raise BundleRefused(f"{path}: {error}; delete it and build the engine again") from None
        return found

    def choose(self, library: Library, device: Device, bundle: GraphBundle) -> tuple[str, EngineManifest] | None:
        """Return the key and manifest of the best plan that fits, or None if the folder has no plan.

        A plan for this GPU is better than one for its capability, which is better than a portable one.

        Raises:
            BundleRefused: there are plans, and none fits. The message has the reason for each.
        """
        there = self.manifests()
        reasons = {key: misfit(manifest, library, device, bundle) for key, manifest in there.items()}
        fitting = [key for key, reason in reasons.items() if not reason]
        if there and not fitting:
            told = "; ".join(f"{key}: {reason}" for key, reason in reasons.items())
            raise BundleRefused(f"{self.folder}: no engine fits ({told}); groknet engine build makes one that does")
        fitting.sort(key=lambda key: (there[key].device is None, there[key].target == "portable", key))
        return (fitting[0], there[fitting[0]]) if fitting else None

    def read(self, manifest: EngineManifest) -> bytes:
        """Return the plan's bytes. Raises BundleRefused if they do not match the manifest."""
        path = self.plan_path(manifest)
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != manifest.plan_sha256:
            raise BundleRefused(f"{path}: absent, cut short or altered; delete it and build the engine again")
        return data
