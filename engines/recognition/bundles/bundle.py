"""A bundle on disk, loaded and checked against its manifest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.recognition.bundles.external_data import external_files
from engines.recognition.bundles.parity_file import read_parity
from schemas.errors import BundleRefused
from schemas.manifest import MODEL_FILE, Manifest, WithFiles, load_manifest, verify_files


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose files match its manifest.

    Attributes:
        folder: the bundle's folder.
        manifest: decoded and checked.
        photos: uint8 [p, height, width, 3], the parity photos.
        expected: by output name, the exported graph's answers for them, one row for each photo.
    """

    folder: Path
    manifest: Manifest
    photos: npt.NDArray[np.uint8]
    expected: dict[str, npt.NDArray[np.generic]]

    @property
    def model_path(self) -> Path:
        """The path of the graph, `model.onnx`."""
        return self.folder / MODEL_FILE

    @property
    def outputs(self) -> dict[str, tuple[int, str]]:
        """By output name, the width of one photo's row and its dtype."""
        manifest = self.manifest
        shapes = {head.output: (len(head.labels), "float32") for head in manifest.heads}
        if manifest.applicability is not None:
            shapes[manifest.applicability.output] = (len(manifest.applicability.domains), "float32")
        shapes[manifest.embedding.output] = (manifest.embedding.dim, "float32")
        shapes[manifest.hash.output] = (manifest.hash.bits // 8, "uint8")
        return shapes

    def check_graph_outputs(self, names: Collection[str]) -> None:
        """Raise BundleRefused unless the graph, whose outputs are called `names`, has every output of the manifest."""
        check_graph_outputs(self.outputs, names)


def load_bundle(folder: Path | str) -> Bundle:
    """Read the manifest, compare every checksum, and read the parity photos. Ignores files that it does not name, and
    refuses a graph that reads such a file.

    Raises:
        BundleRefused: a file is missing or altered, the format is not ours, or a field or a parity array does not
            match. The message names it and the remedy.
    """
    folder = Path(folder)
    manifest = load_manifest(folder)
    for name in (MODEL_FILE, manifest.parity.file):
        if name not in manifest.files:
            raise BundleRefused(f"files: no checksum for {name}, so it cannot be trusted; export the bundle again")
    verify_files(folder, manifest)
    check_external_data(folder, manifest)
    arrays = read_parity(folder / manifest.parity.file)
    photos = arrays.pop("photos", np.empty(0, np.uint8))
    size = (manifest.preprocess.height, manifest.preprocess.width, 3)
    if photos.dtype != np.uint8 or photos.shape[1:] != size or len(photos) == 0:
        found = f"{photos.dtype} {list(photos.shape)}"
        raise BundleRefused(f"{manifest.parity.file}: photos is {found}, not uint8 [p, *{size}]; export again")
    bundle = Bundle(folder, manifest, photos.astype(np.uint8), arrays)
    for name, (width, dtype) in bundle.outputs.items():
        check_output(f"{manifest.parity.file}: {name}", arrays.get(name), (len(photos), width), dtype)
    return bundle


def check_graph_outputs(wanted: Collection[str], names: Collection[str]) -> None:
    """Raise BundleRefused unless every name in `wanted` is in `names`, the outputs of the graph."""
    for name in wanted:
        if name not in names:
            raise BundleRefused(f"model.onnx: {name}: no such output; export again")


def check_output(where: str, array: object, shape: tuple[int, ...], dtype: str) -> None:
    """Raise BundleRefused unless `array` has that shape and dtype. `where` names it in the message."""
    if not isinstance(array, np.ndarray):
        raise BundleRefused(f"{where}: absent; the manifest names an output that is not there, export again")
    if array.shape != shape or array.dtype != np.dtype(dtype):
        found = f"{array.dtype} {list(array.shape)}"
        raise BundleRefused(f"{where}: {found}, but the manifest says {dtype} {list(shape)}; export again")


def check_external_data(folder: Path, manifest: WithFiles) -> None:
    """Refuse a graph that reads a file which no checksum covers. `verify_files` has checked those in the manifest."""
    for name in sorted(external_files((folder / MODEL_FILE).read_bytes())):
        if name not in manifest.files:
            text = f"model.onnx: it reads {name[:80]!r}, for which the manifest has no checksum"
            raise BundleRefused(f"{text}; export again with all weights inside, or name the file in `files`")
