"""The bundle manifest: everything that an engine must know about `model.onnx`, and how to check the files.

A bundle is a folder with `manifest.json`, `model.onnx`, `card.md` and `parity.npz`. The graph takes
`uint8 [n, height, width, 3]`. It returns raw probabilities `float32 [n, labels]` for each head, the L2-normalised
embedding `float32 [n, 400]` and the hash `uint8 [n, 32]` (bit i is 1 if hash logit i is above 0; the most significant
bit of byte 0 is first).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from schemas.boxes import DetectPlan
from schemas.errors import BundleRefused
from schemas.hashes import Epoch
from schemas.units import Positive, Share, Whole

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
PARITY_FILE = "parity.npz"
CARD_FILE = "card.md"
DETECTOR_FOLDER = "detector"
"""The folder inside a bundle that has its detector."""
MANIFEST_BYTES = 64_000_000  # a label takes 100 bytes; half a million of them

StableId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen and keyword-only. An unknown field is an error, so that nothing is half understood."""


class Preprocess(Strict, frozen=True, kw_only=True):
    """How bytes become the network's input, in this order: decode, turn upright, convert to RGB, resize by `mode`.

    `squash` scales both sides and ignores the aspect ratio. `pad` scales the long side and fills the rest with
    `pad_colour`. `crop` scales the short side and cuts out the centre. The graph scales the values.
    """

    mode: Literal["squash", "pad", "crop"] = "squash"
    width: Annotated[int, Meta(ge=16, le=2048)]
    height: Annotated[int, Meta(ge=16, le=2048)]
    colour_order: Literal["RGB"] = "RGB"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    pad_colour: tuple[int, int, int] = (127, 127, 127)


class Label(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """One label of a head.

    Attributes:
        index: its place in the head's output.
        value: its text in the data's column.
        display: its names by language (BCP 47).
        merged: other texts of the column that mean this label.
    """

    id: StableId
    index: Whole
    value: str
    display: dict[str, str] = {}
    merged: list[str] = []


class Calibration(Strict, frozen=True, kw_only=True):
    """A monotone, piecewise linear table: raw probability `x` → calibrated `y`. It is flat beyond its ends."""

    x: list[Share]
    y: list[Share]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or not self.x:
            raise ValueError("calibration: x and y need the same number of points, at least one")
        if any(b <= a for a, b in zip(self.x, self.x[1:], strict=False)):
            raise ValueError("calibration.x: must rise strictly")
        if any(b < a for a, b in zip(self.y, self.y[1:], strict=False)):
            raise ValueError("calibration.y: must not fall")


class Head(Strict, frozen=True, kw_only=True):
    """One set of labels. With `softmax` they exclude each other; with `multi_label` several may be true at once.

    A prediction is *offered* if the head applies to the photo and the calibrated probability reaches `threshold`, or
    the label's own value in `label_thresholds`. That is the lowest value at which the validation photos surely reached
    `target_precision`; 1 means that no value did. `domain` is the id of a domain of `Manifest.applicability`: the head
    applies to photos of this domain. An empty `domain` means that it applies to every photo.
    """

    id: StableId
    kind: Literal["softmax", "multi_label"]
    column: str
    datasets: list[str]
    output: str
    labels: Annotated[list[Label], Meta(min_length=2)]
    calibration: Calibration | None = None
    class_calibration: dict[StableId, Calibration] = {}
    threshold: Share = 1.0
    label_thresholds: dict[StableId, Share] = {}
    target_precision: Share = 0.9
    domain: str = ""

    def __post_init__(self) -> None:
        if [label.index for label in self.labels] != list(range(len(self.labels))):
            raise ValueError(f"heads[{self.id}].labels: index must count 0, 1, 2 … in order")
        ids = {label.id for label in self.labels}
        if len(ids) != len(self.labels):
            raise ValueError(f"heads[{self.id}].labels: two labels share one id")
        for field, own in (("class_calibration", self.class_calibration), ("label_thresholds", self.label_thresholds)):
            if unknown := set(own) - ids:
                raise ValueError(f"heads[{self.id}].{field}: no such label {sorted(unknown)[0]!r}")

    def threshold_of(self, label_id: str) -> float:
        """The calibrated probability from which a label is offered, where the head applies."""
        return self.label_thresholds.get(label_id, self.threshold)


class Domain(Strict, frozen=True, kw_only=True):
    """One kind of photo, such as that of one data set. A photo is of the domain if p(applies) reaches `threshold`."""

    id: StableId
    threshold: Share


class Applicability(Strict, frozen=True, kw_only=True):
    """Which kinds of photos the heads are for. The graph output `output`, float32 [n, domains], has the probability
    p(applies) that a photo is of each domain. The outputs of a head with a `domain` are p(applies) × p(label) already,
    so the labels of a softmax head sum to at most 1."""

    output: str = "applicability"
    domains: Annotated[list[Domain], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if len({domain.id for domain in self.domains}) != len(self.domains):
            raise ValueError("applicability.domains: two domains share one id")


class Embedding(Strict, frozen=True, kw_only=True):
    """The L2-normalised embedding output, `float32 [n, dim]`."""

    output: str = "embedding"
    dim: Annotated[int, Meta(ge=8)] = 400


class Hash(Strict, frozen=True, kw_only=True):
    """The packed hash output, `uint8 [n, bits / 8]`; `codec` names how it was made from the embedding."""

    output: str = "hash"
    bits: Literal[256] = 256
    order: Literal["msb_first"] = "msb_first"
    codec: str = "catalyzer"


class Parity(Strict, frozen=True, kw_only=True):
    """The parity file: `photos` uint8 [n, h, w, 3], and one array for each graph output, under its name.

    If a linear layer makes the hash (weight · embedding + bias), the file also has `hash.weight` [bits, dim] and
    `hash.bias` [bits]. Probabilities and embedding may differ by these absolute tolerances, and the hash of a photo by
    `hash_bits` bits.
    """

    file: str = PARITY_FILE
    probabilities: Positive = 5e-3
    embedding: Positive = 5e-3
    hash_bits: Whole = 2


class Gate(Strict, frozen=True, kw_only=True):
    """How much an engine of lower precision may differ from the float graph on the same photos before it is refused.

    Shares are over photos and heads, or over photos and bits. The defaults are above what INT8 changes (labels 3 %,
    bits 1.5 %) and below what a wrong scale, a swapped label or a flipped bit changes.
    """

    label_agreement: Share = 0.9  # least share of equal best labels
    head_agreement: Share = 0.5  # the same for the worst head
    probability_mean: Share = 0.05  # calibrated, of the float graph's best label
    probability_worst: Share = 0.5  # calibrated, of any label, and p(applies) of any domain
    embedding: Annotated[float, Meta(ge=0, le=2)] = 0.35  # largest distance of two unit vectors
    hash_flips: Share = 0.04  # share of all bits
    hash_column: Share = 0.67  # share of photos in which the worst bit differs; a bit that always flips is a fault
    recall_at_1: Share = 0.01  # loss, where the photos have identities


class Training(Strict, frozen=True, kw_only=True):
    """How the bundle was made: recipe, command, photos of each data set, training time, hardware."""

    recipe: str
    command: str
    photos: dict[str, int] = {}
    seconds: float = 0.0
    hardware: str = ""
    notes: dict[str, float | str] = {}


class Manifest(Strict, frozen=True, kw_only=True):
    """`manifest.json` of a bundle. `files` has the sha256 of every other file of the folder.

    A bundle without `applicability` does not know for which photos its heads are: each of them applies to every photo.
    `precision` is the graph's. Below FP32 the recorded answers to the parity photos are still the float graph's, and
    `gate` judges the engine. With `detection`, the folder `detector` of the bundle has a detector, and boxes are cut
    out before a photo is recognised; the field is absent without.
    """

    format_version: int = FORMAT_VERSION
    name: StableId
    model_version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    epoch: Epoch
    created: str
    input: str = "photos"
    preprocess: Preprocess
    heads: list[Head]
    top_k: Annotated[int, Meta(ge=1, le=100)] = 5
    embedding: Embedding = Embedding()
    hash: Hash = Hash()
    parity: Parity = Parity()
    gate: Gate = Gate()
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    applicability: Applicability | None = None
    detection: DetectPlan | msgspec.UnsetType = msgspec.UNSET
    training: Training
    files: dict[str, Sha256]

    def __post_init__(self) -> None:
        for field, values in (("id", [h.id for h in self.heads]), ("output", [h.output for h in self.heads])):
            if len(set(values)) != len(values):
                raise ValueError(f"heads: two heads share one {field}")
        known = {domain.id for domain in self.applicability.domains} if self.applicability else set()
        for head in self.heads:
            if head.domain and head.domain not in known:
                raise ValueError(f"heads[{head.id}].domain: {head.domain!r} is no domain of `applicability`")

    def head(self, head_id: str) -> Head:
        """Return the head with that id. Raises KeyError."""
        return find_head(self.heads, head_id)


def find_head(heads: list[Head], head_id: str) -> Head:
    """Return the head called `head_id`. Raises KeyError, which names the existing heads."""
    for head in heads:
        if head.id == head_id:
            return head
    raise KeyError(f"{head_id}: no such head; there are {', '.join(h.id for h in heads)}")


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_manifest(manifest: Manifest) -> bytes:
    """Return indented JSON in a fixed key order, so that two manifests can be compared as text."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def encode_preprocess(preprocess: Preprocess) -> bytes:
    """Return the JSON bytes that are part of the epoch."""
    return msgspec.json.encode(preprocess, order="sorted")


def decode_manifest(data: bytes) -> Manifest:
    """Decode and check a manifest. Raises BundleRefused, which names the field, or the version if it is not ours."""
    try:
        version = bytes(msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("format_version", b""))
        if version != str(FORMAT_VERSION).encode():
            found = version.decode() or "absent"
            raise BundleRefused(f"format_version: {found}, not {FORMAT_VERSION}; upgrade groknet or export again")
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleRefused(f"{MANIFEST_FILE}: {error}") from None


def load_manifest(folder: Path) -> Manifest:
    """Read `folder/manifest.json`. Raises BundleRefused if it is missing or cannot be used."""
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        raise BundleRefused(f"{path}: not there; a bundle is a folder with {MANIFEST_FILE} and {MODEL_FILE}")
    if path.stat().st_size > MANIFEST_BYTES:
        raise BundleRefused(f"{path}: larger than {MANIFEST_BYTES:,} bytes; a manifest names labels, not data")
    return decode_manifest(path.read_bytes())


class WithFiles(Protocol):
    """Any manifest that has the sha256 of the other files of its folder."""

    @property
    def files(self) -> dict[str, str]:
        """File name → sha256 in hex."""


def verify_files(folder: Path, manifest: WithFiles) -> None:
    """Compare every file's sha256 with the manifest. Raises BundleRefused, which names the first different file."""
    for name, expected in manifest.files.items():
        path, root = Path(folder) / name, Path(folder).resolve()
        places = (root, root / DETECTOR_FOLDER)
        if "\0" in name or not path.is_file() or path.resolve().parent not in places:
            raise BundleRefused(f"files.{name}: not in the bundle; fetch or export the bundle again")
        if sha256_file(path) != expected:
            raise BundleRefused(f"files.{name}: its sha256 differs from the manifest; fetch or export again")


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write `manifest.json` into `folder` and return its path."""
    path = Path(folder) / MANIFEST_FILE
    path.write_bytes(encode_manifest(manifest))
    return path
