"""Builds an engine. This is the only module that chooses a back end; `_Engine` adds checks and calibration to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.recognition.bundles.bundle import Bundle, load_bundle
from engines.recognition.bundles.parity import check_parity
from engines.recognition.interface import Backend, GraphBundle, RecognitionEngine
from engines.recognition.outputs.answer import answer, calibrators
from engines.recognition.outputs.hash_layer import read_hash_layer
from engines.recognition.outputs.predictions import Predictions
from engines.recognition.outputs.tops import widen
from engines.recognition.own_backend import own_backend
from engines.recognition.parity_gate import judge
from engines.recognition.parts import InParts, part_size
from schemas.errors import ConfigError
from schemas.manifest import Manifest

DEFAULT_MAX_BATCH = 32


def _onnxruntime(bundle: GraphBundle, threads: int | None, max_batch: int) -> Backend:
    from engines.recognition.onnx_runtime import OnnxRuntime

    return InParts(OnnxRuntime(bundle, threads), part_size(threads))


def _openvino(bundle: GraphBundle, threads: int | None, max_batch: int) -> Backend:
    from engines.recognition.openvino import OpenVino

    return InParts(OpenVino(bundle, threads), part_size(threads))


def _torch(bundle: GraphBundle, threads: int | None, max_batch: int) -> Backend:
    from engines.recognition.torch.open import open_torch

    if not isinstance(bundle, Bundle):
        raise ConfigError("backend: torch runs recognition bundles alone; use onnxruntime, openvino or tensorrt")
    return open_torch(bundle, threads, max_batch)


def _tensorrt(bundle: GraphBundle, threads: int | None, max_batch: int) -> Backend:
    from engines.recognition.tensorrt.backend import open_backend

    return open_backend(bundle, "tensorrt")


def _tensorrt_rtx(bundle: GraphBundle, threads: int | None, max_batch: int) -> Backend:
    from engines.recognition.tensorrt.backend import open_backend

    return open_backend(bundle, "tensorrt_rtx")


_BUILDERS: dict[str, Callable[[GraphBundle, int | None, int], Backend]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch,
    "tensorrt": _tensorrt,
    "tensorrt_rtx": _tensorrt_rtx,
}
# The extra of pyproject.toml that installs a back end; `cpu` for the others.
_EXTRAS = {"openvino": "openvino", "torch": "train", "tensorrt": "rtx", "tensorrt_rtx": "rtx"}
BACKENDS = tuple(_BUILDERS)


def build_engine(
    bundle_dir: Path | str,
    backend: str = "",
    threads: int | None = None,
    max_batch: int = DEFAULT_MAX_BATCH,
) -> RecognitionEngine:
    """Load a bundle, check it, compare its answers to the parity photos, and return the engine.

    Args:
        bundle_dir: the bundle's folder.
        backend: one of BACKENDS. Its package is imported here and nowhere else. Empty takes the one that the folder was
            built for, `onnxruntime` if it remembers none.
        threads: CPU threads for one batch; None uses all cores.
        max_batch: the most photos of one `infer`.

    Raises:
        BundleRefused: checksums, format version, outputs or answers to the parity photos do not match.
        ConfigError: unknown back end, its package is not installed, or a number out of range.
    """
    backend = backend or own_backend(Path(bundle_dir))
    _check_backend(backend)
    if max_batch < 1 or (threads is not None and threads < 1):
        raise ConfigError(f"max_batch, threads: at least 1, not {max_batch} and {threads}")
    bundle = load_bundle(bundle_dir)
    engine = _Engine(bundle, backend, open_backend(bundle, backend, threads, max_batch), max_batch)
    engine.check()
    return engine


def open_backend(
    bundle: GraphBundle, backend: str, threads: int | None = None, max_batch: int = DEFAULT_MAX_BATCH
) -> Backend:
    """Open the bare back end, for detectors and for measurements. It returns raw outputs and checks neither parity nor
    its input.

    Arguments and errors are those of `build_engine`.
    """
    _check_backend(backend)
    try:
        return _BUILDERS[backend](bundle, threads, max_batch)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(backend, "cpu")
        raise ConfigError(f"backend: {error.name} is not installed; pip install 'groknet[{extra}]'") from None


def _check_backend(backend: str) -> None:
    if backend not in _BUILDERS:
        raise ConfigError(f"backend: {backend!r} is not one of {', '.join(BACKENDS)}")


class _Engine:
    """Any back end, with checks before it and calibration after it."""

    def __init__(self, bundle: Bundle, name: str, backend: Backend, max_batch: int) -> None:
        self._bundle = bundle
        self._name = name
        self._backend: Backend | None = backend
        self._max_batch = max_batch
        # What is computed in parts is warm after one part; the rest of a batch would only repeat it.
        self._largest = min(max_batch, backend.most) if isinstance(backend, InParts) else max_batch
        self._unused = False
        manifest = bundle.manifest
        self._layer = read_hash_layer(bundle)
        self._heads = calibrators(manifest)

    @property
    def manifest(self) -> Manifest:
        return self._bundle.manifest

    @property
    def backend(self) -> str:
        return self._name

    @property
    def max_batch(self) -> int:
        return self._max_batch

    def check(self) -> None:
        """Run the parity photos. Raises BundleRefused if their answers are wrong.

        A float graph must compute what was exported. A graph of lower precision must pass the manifest's gate.
        """
        photos = self._bundle.photos
        batches = [self._run(photos[i : i + self._max_batch]) for i in range(0, len(photos), self._max_batch)]
        outputs = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
        judged = check_parity if self.manifest.precision == "fp32" else judge
        judged(self._bundle, widen(outputs, self._bundle.expected))
        self._unused = True

    def warm_up(self) -> None:
        if not self._unused:
            self.check()
        self.infer(np.repeat(self._bundle.photos[:1], self._largest, axis=0))

    def infer(self, photos: npt.NDArray[np.uint8]) -> Predictions:
        self._check_photos(photos)
        self._unused = False
        return answer(self.manifest, self._heads, self._layer, self._run(photos))

    def close(self) -> None:
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        backend = self._backend
        if backend is None:
            raise RuntimeError("the engine is closed; build another")
        return backend.run(np.ascontiguousarray(photos))

    def _check_photos(self, photos: npt.NDArray[np.uint8]) -> None:
        size = (self.manifest.preprocess.height, self.manifest.preprocess.width, 3)
        if photos.dtype != np.uint8 or photos.ndim != 4 or photos.shape[1:] != size:
            found = f"{photos.dtype} {list(photos.shape)}"
            raise ValueError(f"photos: {found}, not uint8 [n, {size[0]}, {size[1]}, 3]; decode with engines.pixels")
        if not 1 <= len(photos) <= self._max_batch:
            raise ValueError(f"photos: {len(photos)} in a batch, not 1..{self._max_batch}; split the batch")
