"""`baseline.json` of a bundle: how its answers are spread over the photos that it was validated on.

A tagger counts its answers in the same bins, and Prometheus compares the two. The file is optional. It describes the
model and computes nothing, so it changes neither the model version nor the epoch.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from schemas.errors import BundleRefused
from schemas.manifest import Manifest, StableId, Strict, load_manifest, sha256_file, write_manifest
from schemas.units import Share, Whole

BASELINE_FILE = "baseline.json"
NONE, OTHER = "(none)", "(other)"
"""Bins beside labels and domains; no id can have this form. `NONE`: nothing is offered, or nothing applies."""
_BASELINE_BYTES = 8_000_000  # 80 heads take 100 KB


class HeadBaseline(Strict, frozen=True, kw_only=True):
    """Shares of the photos, 0 to 1; both sum to 1. `labels`: by the first label that is offered, with `OTHER` for rare
    ones and `NONE` for photos without one. `scores`: by the best label's calibrated probability, in bins of equal width
    from 0 to 1."""

    labels: dict[str, Share]
    scores: list[Share]

    def __post_init__(self) -> None:
        if OTHER not in self.labels or NONE not in self.labels or not self.scores:
            raise ValueError(f"labels: need {OTHER!r} and {NONE!r}; scores: need at least one bin")


class Baseline(Strict, frozen=True, kw_only=True):
    """`baseline.json`. `photos`: how many of each data set. `domains`: the share of photos that are of each domain, and
    `NONE` for photos of no domain; empty if the bundle has no applicability."""

    model_version: str
    photos: dict[str, Whole]
    heads: dict[StableId, HeadBaseline]
    domains: dict[str, Share] = {}  # noqa: RUF012 (msgspec copies an empty default)


def load_baseline(folder: Path) -> Baseline | None:
    """Return the baseline of a bundle, or None if its manifest names none.

    Raises:
        BundleRefused: the file is missing, too large or not of this form.
    """
    if BASELINE_FILE not in load_manifest(folder).files:
        return None
    path = Path(folder) / BASELINE_FILE
    remedy = "write it again with `groknet bundle baseline`"
    if not path.is_file() or path.stat().st_size > _BASELINE_BYTES:
        raise BundleRefused(f"{BASELINE_FILE}: missing or too large; {remedy}")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleRefused(f"{BASELINE_FILE}: {error}; {remedy}") from None


def encode_baseline(baseline: Baseline) -> bytes:
    """Return the bytes of the file."""
    return msgspec.json.format(msgspec.json.encode(baseline), indent=1) + b"\n"


def write_baseline(folder: Path, baseline: Baseline) -> Manifest:
    """Write the file into a bundle and its checksum into the manifest, which is returned. Nothing else changes."""
    manifest = load_manifest(folder)
    path = Path(folder) / BASELINE_FILE
    path.write_bytes(encode_baseline(baseline))
    files = dict(sorted({**manifest.files, BASELINE_FILE: sha256_file(path)}.items()))
    manifest = msgspec.structs.replace(manifest, files=files)
    write_manifest(folder, manifest)
    return manifest
