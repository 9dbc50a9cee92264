"""Plans on disk, each beside its manifest: written whole or not at all, checked before use."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from engines.files import write_file
from engines.gpu.driver import Device
from engines.recognition.bundle import Bundle
from engines.recognition.tensorrt.library import Library
from engines.recognition.tensorrt.manifest import EngineManifest, misfit
from schemas.errors import BundleRefused

FOLDER = "engines"
"""In a bundle's folder: engines that were built ahead of time and travel with it."""


def default_cache() -> Path:
    """Where engines go that were built at start: a user's cache folder, as the XDG base directories name it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groknet" / FOLDER


class EngineCache:
    """A folder of `<key>.json`, each naming a plan by its sha256.

    Safe between processes: a file appears whole, the manifest after its plan, and two builds of one key never mix,
    since their plans differ in bytes and so in name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plan_path(self, manifest: EngineManifest) -> Path:
        """Where the plan of that manifest lies, or would."""
        return self.folder / f"{manifest.plan_sha256[:16]}.plan"

    def write(self, key: str, plan: bytes, manifest: EngineManifest) -> Path:
        """Put both, the manifest last; returns the plan's path. An engine of the same key is replaced."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.manifests().get(key)
        path = self.plan_path(manifest)
        write_file(path, plan, sync=True, shared=True)
        self.write_manifest(key, manifest)
        if before is not None and self.plan_path(before) != path:
            self.plan_path(before).unlink(missing_ok=True)
        return path

    def write_manifest(self, key: str, manifest: EngineManifest) -> None:
        """Put the manifest alone, as when a GPU has checked parity."""
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
        write_file(self.folder / f"{key}.json", text, sync=True, shared=True)

    def manifests(self) -> dict[str, EngineManifest]:
        """Every engine of the folder by its key, in order of keys; raises BundleRefused for one that cannot be read."""
        found = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                found[path.stem] = msgspec.json.decode(path.read_bytes(), type=EngineManifest)
            except (OSError, msgspec.DecodeError) as error:
                raise BundleRefused(f"{path}: {error}; delete it and build the engine again") from None
        return found

    def choose(self, library: Library, device: Device, bundle: Bundle) -> tuple[str, EngineManifest] | None:
        """The engine that fits: one made for this very GPU before one for its capability before a portable one.

        Returns None where the folder holds no engine at all.

        Raises:
            BundleRefused: there are engines, and none fits; the reason for each is in the message.
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
        """The plan's bytes; raises BundleRefused when they are not those that the manifest was written for."""
        path = self.plan_path(manifest)
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != manifest.plan_sha256:
            raise BundleRefused(f"{path}: absent, cut short or altered; delete it and build the engine again")
        return data
