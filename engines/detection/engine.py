"""Opens a detector: a bundle, one of recognition's back ends, and the checks around it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from engines.detection.bundle import DetectorBundle, load_detector_bundle
from engines.detection.interface import Detection, Detector
from engines.detection.parity import check_detector_parity
from engines.pixels import Box
from engines.pixels.box import MIN_SHARE
from engines.recognition.engine import open_backend
from engines.recognition.interface import Backend
from schemas.detector_manifest import BOXES, KINDS, SCORES
from schemas.errors import ConfigError, Invalid
from schemas.manifest import Preprocess

DetectorBackend = Literal["onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"]
DETECTOR_BACKENDS: tuple[str, ...] = get_args(DetectorBackend)
WITHOUT_SUPPRESSION = ("tensorrt", "tensorrt_rtx")
"""Back ends whose boxes are suppressed on the processor (`suppression.py`)."""
DEFAULT_MAX_BATCH = 32


def open_detector(
    folder: Path | str,
    backend: str = "onnxruntime",
    *,
    threads: int | None = None,
    max_batch: int = DEFAULT_MAX_BATCH,
) -> Detector:
    """Load a detector bundle, check it, compare its boxes for the parity photos, and return the detector.

    Args:
        folder: the bundle's folder.
        backend: one of DETECTOR_BACKENDS. Its package is imported only when it is chosen.
        threads: CPU threads for one batch; None uses all cores.
        max_batch: the most photos of one `detect`.

    Raises:
        BundleRefused: checksums, format version, outputs or boxes do not match.
        ConfigError: unknown back end, its package is not installed, or a number out of range.
    """
    if backend not in DETECTOR_BACKENDS:
        raise ConfigError(f"backend: {backend!r} is not one of {', '.join(DETECTOR_BACKENDS)}")
    if max_batch < 1 or (threads is not None and threads < 1):
        raise ConfigError(f"max_batch, threads: at least 1, not {max_batch} and {threads}")
    bundle = load_detector_bundle(folder)
    detector = _Detector(bundle, open_detector_backend(bundle, backend, threads, max_batch), max_batch)
    try:
        detector.check()
    except BaseException:
        detector.close()
        raise
    return detector


def open_detector_backend(
    bundle: DetectorBundle, backend: str, threads: int | None = None, max_batch: int = DEFAULT_MAX_BATCH
) -> Backend:
    """Open the bare back end, for measurements. It returns the graph's outputs and checks neither parity nor its input.

    TensorRT gets the graph without its suppression. Arguments and errors are those of `open_detector`.
    """
    if backend not in WITHOUT_SUPPRESSION:
        return open_backend(bundle, backend, threads, max_batch)
    from engines.detection.suppression import Suppressing, without_suppression
    from engines.recognition.tensorrt.cache import default_cache

    with_proposals = without_suppression(bundle, default_cache() / bundle.manifest.model_version)
    return Suppressing(open_backend(with_proposals, backend, threads, max_batch), bundle.manifest.nms)


class _Detector:
    """See `Detector`. Any back end, with checks before it and boxes after it."""

    def __init__(self, bundle: DetectorBundle, backend: Backend, max_batch: int) -> None:
        self._bundle = bundle
        self._backend: Backend | None = backend
        self._max_batch = max_batch

    @property
    def detector_id(self) -> str:
        return self._bundle.manifest.detector_id

    @property
    def preprocess(self) -> Preprocess:
        return self._bundle.manifest.preprocess

    @property
    def max_batch(self) -> int:
        return self._max_batch

    def check(self) -> None:
        """Run the parity photos. Raises BundleRefused if their boxes are wrong."""
        photos = self._bundle.photos
        batches = [self._run(photos[i : i + self._max_batch]) for i in range(0, len(photos), self._max_batch)]
        outputs = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        check_detector_parity(self._bundle, outputs)

    def warm_up(self) -> None:
        self.check()
        self.detect(np.repeat(self._bundle.photos[:1], self._max_batch, axis=0))

    def detect(self, photos: npt.NDArray[np.uint8]) -> list[list[Detection]]:
        self._check_photos(photos)
        outputs = self._run(photos)
        return [self._boxes(*(outputs[name][place] for name in (BOXES, SCORES, KINDS))) for place in range(len(photos))]

    def close(self) -> None:
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        backend = self._backend
        if backend is None:
            raise RuntimeError("the detector is closed; open another")
        return backend.run(np.ascontiguousarray(photos))

    def _boxes(
        self, boxes: npt.NDArray[np.generic], scores: npt.NDArray[np.generic], kinds: npt.NDArray[np.generic]
    ) -> list[Detection]:
        """The boxes of one photo, the most confident first. One that is narrower than a `Box` may be is left out."""
        found = []
        for edges, score, kind in zip(boxes.tolist(), scores.tolist(), kinds.tolist(), strict=True):
            if score <= 0:
                break  # sorted by score; the rest of the places is empty
            if not np.isfinite([*edges, score]).all():
                raise Invalid("engine", "non_finite", "the detector gave not-a-number for this photo")
            left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in edges)
            if min(right - left, bottom - top) < MIN_SHARE:
                continue
            found.append(Detection(Box(left, top, right, bottom), self._bundle.manifest.kinds[kind], score))
        return found

    def _check_photos(self, photos: npt.NDArray[np.uint8]) -> None:
        size = (self.preprocess.height, self.preprocess.width, 3)
        if photos.dtype != np.uint8 or photos.ndim != 4 or photos.shape[1:] != size:
            found = f"{photos.dtype} {list(photos.shape)}"
            raise ValueError(f"photos: {found}, not uint8 [n, {size[0]}, {size[1]}, 3]; decode with engines.pixels")
        if not 1 <= len(photos) <= self._max_batch:
            raise ValueError(f"photos: {len(photos)} in a batch, not 1..{self._max_batch}; split the batch")
