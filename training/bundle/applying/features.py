"""The pooled feature of every photo, from a finished bundle's graph, kept on disk so that heads are fitted many times.

The trunk is nine tenths of the work and does not change. One pass writes its feature in chunks, and a pass that was
stopped continues after its last chunk. `Tail` computes everything behind the feature in milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx.utils import Extractor

from engines.files import replacing, write_file
from engines.recognition import Bundle
from engines.recognition.outputs.answer import answer, calibrators
from engines.recognition.outputs.hash_layer import read_hash_layer
from schemas.errors import BundleRefused
from schemas.manifest import Manifest
from training.evaluation.folder import Predicted, decode_row
from training.readers.label_table import Row
from training.readers.splits import chance

log = logging.getLogger(__name__)
Features = NDArray[np.float32]
BATCH = 16
CHUNK = 256  # photos in one file of the cache: a few seconds of two cores
MOST = 1200  # training photos of one data set; a sigmoid on the feature learns no more from further ones
CROSS = 6000  # training photos of one data set whose features are computed, for scores that are cross-fitted


@dataclass(frozen=True)
class Seen:
    """The photos of one folder, as the trunk sees them.

    Attributes:
        rows: of the photos that could be decoded.
        feature: `float32 [n, f]`, of these rows, in this order.
        skipped: path and reason of the others.
    """

    rows: list[Row]
    feature: Features
    skipped: list[tuple[str, str]]


def some_of(rows: Sequence[Row], most: int = MOST) -> list[Row]:
    """At most `most` training photos, the same ones each time, and all other photos, in their order."""
    train = [row["path"] for row in rows if row.get("split") == "train"]
    kept = set(sorted(train, key=chance)[:most])
    return [row for row in rows if row.get("split") != "train" or row["path"] in kept]


def feature_name(model: onnx.ModelProto) -> str:
    """The tensor that every head reads: the input that most `Gemm` nodes share.

    Raises:
        BundleRefused: the graph has no linear layers.
    """
    inputs = Counter(node.input[0] for node in model.graph.node if node.op_type == "Gemm")
    if not inputs:
        raise BundleRefused("model.onnx: it has no Gemm node, so its feature is not known; export the run again")
    return str(inputs.most_common(1)[0][0])


def between(model: onnx.ModelProto, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    """The part of a graph that computes `outputs` from `inputs`."""
    return Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(inputs, outputs)


def session_of(model: onnx.ModelProto, threads: int | None = None) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a long pass shares its cores
    if threads is not None:
        options.intra_op_num_threads = threads
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Trunk:
    """The graph from the photos to the feature."""

    def __init__(self, model: onnx.ModelProto, manifest: Manifest, threads: int | None = None) -> None:
        name = feature_name(model)
        part = between(model, [manifest.input], [name])
        self._manifest, self._name = manifest, name
        self._session = session_of(part, threads)
        content = part.SerializeToString(deterministic=True)
        self.digest = hashlib.sha256(content).hexdigest()[:12]

    def run(self, photos: NDArray[np.uint8]) -> Features:
        """`uint8 [n, h, w, 3]` → `float32 [n, f]`."""
        found: Features = self._session.run([self._name], {self._manifest.input: photos})[0]
        return found

    def folder(self, name: str, folder: Path, rows: Sequence[Row], cache: Path) -> Seen:
        """The features of `rows`, whose paths are relative to `folder`.

        `cache` keeps one file for every `CHUNK` photos. It belongs to this trunk and these rows; another trunk or
        other rows have files of their own.
        """
        named = json.dumps([[row["path"], row.get("box", "")] for row in rows]).encode()
        mark = hashlib.sha256(named + self.digest.encode()).hexdigest()[:12]
        cache.mkdir(parents=True, exist_ok=True)
        kept: list[Row] = []
        parts: list[Features] = []
        skipped: list[tuple[str, str]] = []
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(rows), CHUNK):
                some = rows[start : start + CHUNK]
                file = cache / f"{name}-{mark}-{start:06d}"
                if not file.with_suffix(".json").is_file():
                    self._chunk(file, folder, some, pool)
                    log.info("%s: %d of %d photos", name, start + len(some), len(rows))
                reasons: dict[str, str] = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
                kept += [row for row in some if row["path"] not in reasons]
                skipped += list(reasons.items())
                parts.append(np.load(file.with_suffix(".npy")))
        return Seen(kept, np.concatenate(parts), skipped)

    def _chunk(self, file: Path, folder: Path, rows: Sequence[Row], pool: ThreadPoolExecutor) -> None:
        """Write one chunk: the features, and then, as a sign that they are whole, why photos were left out."""
        reasons: dict[str, str] = {}
        found: list[Features] = []
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            pixels = list(pool.map(lambda row: decode_row(folder, row, self._manifest.preprocess), some))
            good = [photo for photo in pixels if not isinstance(photo, str)]
            reasons |= {r["path"]: photo for r, photo in zip(some, pixels, strict=True) if isinstance(photo, str)}
            if good:
                found.append(self.run(np.stack(good)))
        width = (0, 0) if not found else (0, found[0].shape[1])
        with replacing(file.with_suffix(".npy")) as part, part.open("wb") as opened:
            np.save(opened, np.concatenate(found) if found else np.empty(width, np.float32))
        write_file(file.with_suffix(".json"), json.dumps(reasons))


class Tail:
    """The graph behind the feature: every output of the bundle, from features."""

    def __init__(self, model: onnx.ModelProto, bundle: Bundle) -> None:
        """`model` is the graph, `bundle` its manifest and parity file, which has the hash layer."""
        self._bundle, self._name = bundle, feature_name(model)
        self._outputs = list(bundle.outputs)
        self._session = session_of(between(model, [self._name], self._outputs))

    def run(self, feature: Features) -> dict[str, NDArray[np.generic]]:
        """Raw outputs by name, one row for each row of `feature [n, f]`."""
        values = self._session.run(self._outputs, {self._name: feature})
        return dict(zip(self._outputs, values, strict=True))

    def predicted(self, seen: Seen) -> Predicted:
        """What an engine predicts for photos, without running the trunk again."""
        manifest = self._bundle.manifest
        found = answer(manifest, calibrators(manifest), read_hash_layer(self._bundle), self.run(seen.feature))
        return Predicted(manifest, seen.rows, found, seen.skipped)
