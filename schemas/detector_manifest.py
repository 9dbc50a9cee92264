"""The manifest of a detector bundle: everything that an engine must know about a detector's graph.

A detector bundle is a folder with `manifest.json`, `model.onnx`, `card.md` and `parity.npz`, like a recogniser's. The
graph takes `uint8 [n, height, width, 3]`, and returns for each photo its `nms.most` best boxes, the most confident
first, after non-maximum suppression: `boxes` float32 [n, most, 4] (left, top, right, bottom in shares of the input),
`scores` float32 [n, most] and `kinds` int64 [n, most], places in `kinds`. Places without a box have score 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.errors import BundleRefused
from schemas.hashes import Epoch
from schemas.manifest import (
    MANIFEST_BYTES,
    MANIFEST_FILE,
    MODEL_FILE,
    PARITY_FILE,
    Head,
    Preprocess,
    Sha256,
    StableId,
    Strict,
    Training,
)
from schemas.units import Share

DETECTOR_FORMAT_VERSION = 1
BOXES, SCORES, KINDS = "boxes", "scores", "kinds"
"""The names of the graph's outputs."""

Kind = Annotated[str, Meta(min_length=1, max_length=128)]


class Nms(Strict, frozen=True, kw_only=True):
    """Non-maximum suppression, as the graph does it. All kinds compete, so a product has one box.

    `score`: boxes below it are dropped. `overlap`: of two boxes with a larger IoU the more confident one stays. `most`:
    boxes of one photo.
    """

    score: Share = 0.05
    overlap: Share = 0.5
    most: Annotated[int, Meta(ge=1, le=1000)] = 100


class DetectorParity(Strict, frozen=True, kw_only=True):
    """The parity file: `photos` uint8 [p, h, w, 3], and the graph's `boxes`, `scores` and `kinds` for them.

    A recorded box is found if the back end has one with an IoU of at least `overlap` and a score that differs by at
    most `score`. At least the share `found` of the recorded boxes must be found, and as many of the back end's boxes
    must be recorded ones. Boxes whose score is less than `margin` above the graph's threshold do not count, because
    rounding may drop them.
    """

    file: str = PARITY_FILE
    overlap: Share = 0.9
    score: Share = 0.03
    margin: Share = 0.05
    found: Share = 0.95


class DetectorManifest(Strict, frozen=True, kw_only=True):
    """`manifest.json` of a detector bundle. `files` has the sha256 of every other file of the folder.

    `detector_id` changes with the weights, the thresholds in the graph, the precision and the preprocessing. `kinds`
    are the classes; the first one is `product`, which stands for any product.
    """

    format_version: int = DETECTOR_FORMAT_VERSION
    type: Literal["detector"] = "detector"
    name: StableId
    model_version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    detector_id: Epoch
    created: str
    input: str = "photos"
    preprocess: Preprocess
    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=10_000)]
    nms: Nms = Nms()
    parity: DetectorParity = DetectorParity()
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    training: Training
    files: dict[str, Sha256]

    def __post_init__(self) -> None:
        if self.kinds[0] != "product":
            raise ValueError("kinds: the first kind must be `product`, which stands for any product")
        if len(set(self.kinds)) != len(self.kinds):
            raise ValueError("kinds: two kinds share one name")
        if self.preprocess.mode != "squash":
            raise ValueError("preprocess.mode: must be `squash`, so that shares of the input are shares of the photo")

    @property
    def epoch(self) -> str:
        """The detector's id. A plan that a back end has compiled is kept under this name."""
        return self.detector_id

    @property
    def heads(self) -> tuple[Head, ...]:
        """None: a detector's kinds are no head, so no back end cuts its outputs."""
        return ()

    @property
    def top_k(self) -> int:
        """Without a meaning for a detector; it has no heads."""
        return 1


def encode_detector_manifest(manifest: DetectorManifest) -> bytes:
    """Return indented JSON in a fixed key order, so that two manifests can be compared as text."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_detector_manifest(data: bytes) -> DetectorManifest:
    """Decode and check a manifest. Raises BundleRefused, which names the field, or what the manifest is of."""
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        if bytes(fields.get("type", b"")) != b'"detector"':
            raise BundleRefused("type: this is no detector bundle; name one that `groknet detector export` made")
        version = bytes(fields.get("format_version", b""))
        if version != str(DETECTOR_FORMAT_VERSION).encode():
            found = version.decode() or "absent"
            raise BundleRefused(
                f"format_version: {found}, not {DETECTOR_FORMAT_VERSION}; upgrade groknet or export again"
            )
        return msgspec.json.decode(data, type=DetectorManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleRefused(f"{MANIFEST_FILE}: {error}") from None


def load_detector_manifest(folder: Path) -> DetectorManifest:
    """Read `folder/manifest.json`. Raises BundleRefused if it is missing or cannot be used."""
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        raise BundleRefused(f"{path}: not there; a detector bundle is a folder with {MANIFEST_FILE} and {MODEL_FILE}")
    if path.stat().st_size > MANIFEST_BYTES:
        raise BundleRefused(f"{path}: larger than {MANIFEST_BYTES:,} bytes; a manifest names kinds, not data")
    return decode_detector_manifest(path.read_bytes())


def write_detector_manifest(folder: Path, manifest: DetectorManifest) -> Path:
    """Write `manifest.json` into `folder` and return its path."""
    path = Path(folder) / MANIFEST_FILE
    path.write_bytes(encode_detector_manifest(manifest))
    return path
