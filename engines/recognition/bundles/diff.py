"""Describes a bundle, and compares two: what changes for their users. For the `groknet bundle` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from schemas.manifest import Calibration, Head, Manifest, load_manifest

_PLAIN = ("name", "model_version", "epoch", "created", "precision", "top_k", "input", "preprocess", "embedding", "hash")
_SCALE = np.linspace(0, 1, 1001)  # raw probabilities at which two calibrations are compared; 0 to 1 in thousandths
_NO_MORE = 3  # ids that one sentence names


def describe(folder: Path) -> dict[str, Any]:
    """Return a summary of the manifest, and the sizes of the files in bytes; None for a missing file.

    Checksums are not compared.

    Raises:
        BundleRefused: the manifest is missing or cannot be read.
    """
    manifest = load_manifest(folder)
    told = {name: msgspec.to_builtins(getattr(manifest, name)) for name in _PLAIN}
    heads = [
        {
            "id": head.id,
            "kind": head.kind,
            "column": head.column,
            "datasets": head.datasets,
            "labels": len(head.labels),
            "calibrated": head.calibration is not None,
            "own_tables": len(head.class_calibration),
            "threshold": head.threshold,
            "target_precision": head.target_precision,
        }
        for head in manifest.heads
    ]
    sizes = {name: (folder / name).stat().st_size if (folder / name).is_file() else None for name in manifest.files}
    return {**told, "heads": heads, "bytes": sizes, "training": msgspec.to_builtins(manifest.training)}


def compare(old: Path, new: Path) -> dict[str, Any]:
    """Compare two bundles by their manifests.

    Returns:
        `same`: whether nothing differs. `fields`: name → [old, new]. `files`: names whose checksum differs, or that
        only one bundle has. `heads`: id → what changed, see `_head`. `means`: the consequences, one sentence each.

    Raises:
        BundleRefused: a manifest is missing or cannot be read.
    """
    before, after = load_manifest(old), load_manifest(new)
    fields = {}
    for name in _PLAIN:
        pair = [msgspec.to_builtins(getattr(side, name)) for side in (before, after)]
        if pair[0] != pair[1]:
            fields[name] = pair
    names = sorted(before.files.keys() | after.files.keys())
    files = [name for name in names if before.files.get(name) != after.files.get(name)]
    heads = _heads(before, after)
    same = before == after
    return {"same": same, "fields": fields, "files": files, "heads": heads, "means": _means(before, after, heads)}


def _heads(before: Manifest, after: Manifest) -> dict[str, dict[str, Any]]:
    old, new = ({head.id: head for head in side.heads} for side in (before, after))
    changed: dict[str, dict[str, Any]] = {}
    for head_id in dict.fromkeys((*old, *new)):
        if head_id not in new:
            changed[head_id] = {"change": "removed"}
        elif head_id not in old:
            changed[head_id] = {"change": "added", "labels": len(new[head_id].labels)}
        elif what := _head(old[head_id], new[head_id]):
            changed[head_id] = {"change": "changed", **what}
    return changed


def _head(old: Head, new: Head) -> dict[str, Any]:
    """Return only the differences: settings as [old, new]; label ids added, removed and renamed (same id, other value);
    how many labels moved to another index; the largest difference of two calibrated probabilities."""
    found: dict[str, Any] = {}
    for name in ("kind", "column", "datasets", "output", "threshold", "target_precision"):
        pair = [getattr(old, name), getattr(new, name)]
        if pair[0] != pair[1]:
            found[name] = pair
    was, now = ({label.id: label for label in head.labels} for head in (old, new))
    kept = [label_id for label_id in was if label_id in now]
    found["labels_added"] = [label_id for label_id in now if label_id not in was]
    found["labels_removed"] = [label_id for label_id in was if label_id not in now]
    found["labels_renamed"] = [label_id for label_id in kept if was[label_id].value != now[label_id].value]
    found["labels_moved"] = sum(was[label_id].index != now[label_id].index for label_id in kept)
    apart = [np.abs(_curve(old, label_id) - _curve(new, label_id)).max() for label_id in kept]
    found["calibration"] = round(float(max(apart, default=0.0)), 4)
    return {name: value for name, value in found.items() if value}


def _curve(head: Head, label_id: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a label's calibrated probabilities over `_SCALE`."""
    table: Calibration | None = head.class_calibration.get(label_id, head.calibration)
    return _SCALE if table is None else np.interp(_SCALE, table.x, table.y)


def _means(before: Manifest, after: Manifest, heads: dict[str, dict[str, Any]]) -> list[str]:
    said = []
    if before.epoch != after.epoch:
        said.append("another epoch: hashes of the two cannot be compared; fill an index of the new one, then switch")
    elif before.hash != after.hash or before.preprocess != after.preprocess:
        said.append("one epoch for two hash spaces: do not serve both at once")
    gone = [head_id for head_id, what in heads.items() if what["change"] == "removed"]
    if gone:
        said.append(f"readers of these heads find nothing: {_some(gone)}")
    for head_id, what in heads.items():
        if what.get("labels_removed"):
            said.append(f"{head_id} no longer says {_some(what['labels_removed'])}")
        if what.get("labels_renamed"):
            said.append(f"{head_id} gave other values the ids {_some(what['labels_renamed'])}; ids must stay")
        if "threshold" in what:
            less, more = what["threshold"]
            said.append(f"{head_id} offers {'less' if more > less else 'more'} often: from {more:g}, before {less:g}")
    return said


def _some(names: list[str]) -> str:
    rest = len(names) - _NO_MORE
    return ", ".join(names[:_NO_MORE]) + (f" and {rest} more" if rest > 0 else "")
