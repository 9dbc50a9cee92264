"""A detector bundle on disk, loaded and checked against its manifest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.recognition.bundles.bundle import check_external_data, check_graph_outputs, check_output
from engines.recognition.bundles.parity_file import read_parity
from schemas.detector_manifest import BOXES, KINDS, SCORES, DetectorManifest, load_detector_manifest
from schemas.errors import BundleRefused
from schemas.manifest import MODEL_FILE, verify_files

DTYPES = {BOXES: "float32", SCORES: "float32", KINDS: "int64"}


@dataclass(frozen=True, eq=False)
class DetectorBundle:
    """A detector bundle whose files match its manifest.

    Attributes:
        folder: the bundle's folder.
        manifest: decoded and checked.
        photos: uint8 [p, height, width, 3], the parity photos.
        expected: by output name, the exported graph's answers for them: `boxes` float32 [p, most, 4], `scores` float32
            [p, most] and `kinds` int64 [p, most].
    """

    folder: Path
    manifest: DetectorManifest
    photos: npt.NDArray[np.uint8]
    expected: dict[str, npt.NDArray[np.generic]]

    @property
    def model_path(self) -> Path:
        """The path of the graph, `model.onnx`."""
        return self.folder / MODEL_FILE

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the graph's outputs."""
        return tuple(DTYPES)

    def check_graph_outputs(self, names: Collection[str]) -> None:
        """Raise BundleRefused unless the graph, whose outputs are called `names`, has all three outputs."""
        check_graph_outputs(self.outputs, names)


def load_detector_bundle(folder: Path | str) -> DetectorBundle:
    """Read the manifest, compare every checksum, and read the parity photos.

    Raises:
        BundleRefused: a file is missing or altered, the graph reads a file that no checksum covers, or a field or a
            parity array does not match. The message names it and the remedy.
    """
    folder = Path(folder)
    manifest = load_detector_manifest(folder)
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
    check_answers(f"{manifest.parity.file}: ", arrays, manifest, len(photos))
    return DetectorBundle(folder, manifest, photos.astype(np.uint8), arrays)


def check_answers(where: str, arrays: dict[str, npt.NDArray[np.generic]], manifest: DetectorManifest, n: int) -> None:
    """Raise BundleRefused unless the three outputs for n photos have their shapes and dtypes."""
    most = manifest.nms.most
    for name, dtype in DTYPES.items():
        shape = (n, most, 4) if name == BOXES else (n, most)
        check_output(f"{where}{name}", arrays.get(name), shape, dtype)
