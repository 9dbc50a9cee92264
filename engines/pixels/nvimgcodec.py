"""Decodes JPEGs on the GPU's own decoder, through NVIDIA's nvimgcodec, which can also decode on a CPU for comparison.

A photo comes here after the checks of `decode`. The GPU undoes the Huffman code and the transform, which is most of a
decode, and averages the photo down to the scale that Pillow would have used. `decode` resizes it as usual. Photos of
several threads go to the GPU as one batch.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from schemas.errors import ConfigError

if TYPE_CHECKING:
    from engines.pixels._average import Average

JpegDecoderName = Literal["pillow", "nvimgcodec"]
JPEG_DECODERS: tuple[JpegDecoderName, ...] = get_args(JpegDecoderName)

_BATCH_PHOTOS = 64  # H100 and H200 have seven decoders; nine photos for each hide the launch
_BATCH_PIXELS = 64_000_000  # 192 MB on the GPU and on the host: one photo at the limit, or 133 of 800 x 600
MAX_APART = 8  # of 255, from Pillow's pixels: libraries differ in rounding of transforms and chroma filters
MAX_APART_GPU = 24  # the same on a GPU's decoders, at edges of colour; the largest of 44 photos on an H100 was 15
_PROBE_SIDE = 256  # large enough for the decoders, which may skip smaller photos
_VERBOSITY = "PYNVIMGCODEC_VERBOSITY"
_MISSING = "pip install 'groknet[gpu]', or set tagger.jpeg_decoder to pillow"

Pixels = npt.NDArray[np.uint8]


class JpegDecoder(Protocol):
    """Decodes whole JPEGs outside the calling thread. Thread-safe."""

    def decode(self, data: bytes, size: tuple[int, int], scale: int) -> Pixels | None:
        """Decode a JPEG to RGB as stored in the file, neither turned nor colour-managed. Blocks.

        Args:
            data: the file.
            size: width and height from the header, which bound a batch.
            scale: 1, 2, 4 or 8; each value of the result is the mean of scale x scale values.

        Returns:
            uint8 [ceil(height / scale), ceil(width / scale), 3], or None if another decoder must judge the file.

        Raises:
            RuntimeError, DeviceLost: the device failed, and no photo is to blame.
        """


def open_jpeg_decoder(name: JpegDecoderName) -> JpegDecoder | None:
    """Return the GPU's decoder for `nvimgcodec`, and None for `pillow`, which is built into `decode`.

    Raises:
        ConfigError: the package or the GPU is missing.
    """
    return NvImageCodec() if name == "nvimgcodec" else None


class _Asked:
    """One photo in a batch."""

    def __init__(self, data: bytes, pixels: int, scale: int) -> None:
        self.data, self.pixels, self.scale = data, pixels, scale
        self.done = False
        self.found: Pixels | None = None
        self.error: Exception | None = None


class NvImageCodec:
    """One nvimgcodec decoder. The thread that holds it decodes for all that wait, so batches grow with the load."""

    def __init__(self, device: Literal["gpu", "cpu"] = "gpu") -> None:
        """
        Args:
            device: `gpu` is the first GPU that CUDA_VISIBLE_DEVICES leaves, with its JPEG decoders, or its kernels if
                it has none. `cpu` is the package's libjpeg-turbo.

        Raises:
            ConfigError: nvimgcodec, cuda-bindings or NVRTC is not installed, or the device has no decoder.
        """
        os.environ.setdefault(_VERBOSITY, "0")  # it would write a line to stderr for each photo that it refuses
        try:
            from nvidia import nvimgcodec
        except ImportError as error:
            raise ConfigError(f"jpeg_decoder: nvimgcodec cannot be imported ({error}); {_MISSING}") from None
        self._decoder = _decoder(nvimgcodec, device)
        self._average = _on_gpu() if device == "gpu" else None
        self._params = nvimgcodec.DecodeParams(apply_exif_orientation=False, color_spec=nvimgcodec.SRGB)
        self._waiting: deque[_Asked] = deque()
        self._turn = threading.Lock()
        self._prove(device)

    def decode(self, data: bytes, size: tuple[int, int], scale: int) -> Pixels | None:
        """See `JpegDecoder.decode`."""
        asked = _Asked(data, size[0] * size[1], scale)
        self._waiting.append(asked)
        with self._turn:
            while not asked.done:
                self._serve(self._batch())
        if asked.error is not None:
            raise asked.error
        return asked.found

    def _prove(self, device: str) -> None:
        """Decode a photo whose pixels are known.

        A library that nvimgcodec lacks, or a GPU that decodes differently, is found before the first real photo.
        """
        data, expected = _probe()
        found = self.decode(data, (_PROBE_SIDE, _PROBE_SIDE), 2)
        if found is None:  # for example, nvJPEG is not installed
            raise ConfigError(f"jpeg_decoder: nvimgcodec cannot decode a JPEG on this {device}; {_MISSING}")
        apart = int(np.abs(found.astype(np.int64) - expected).max())
        if apart > MAX_APART:
            raise ConfigError(
                f"jpeg_decoder: on this {device} pixels are up to {apart} from Pillow's, at most {MAX_APART} are "
                "allowed; set tagger.jpeg_decoder to pillow"
            )

    def _batch(self) -> list[_Asked]:
        """Take the first waiting photos, at least one. Only the thread that has the turn may call this."""
        batch = [self._waiting.popleft()]
        left = _BATCH_PIXELS - batch[0].pixels
        while self._waiting and len(batch) < _BATCH_PHOTOS and self._waiting[0].pixels <= left:
            batch.append(self._waiting.popleft())
            left -= batch[-1].pixels
        return batch

    def _serve(self, batch: list[_Asked]) -> None:
        try:
            stream = self._average.stream if self._average else 0
            images = self._decoder.decode([a.data for a in batch], params=self._params, cuda_stream=stream)
            there = [(asked, image) for asked, image in zip(batch, images, strict=True) if image is not None]
            for (asked, _), pixels in zip(there, self._averaged(there), strict=True):
                asked.found = pixels
        except Exception as error:  # every caller gets it, so that none waits for ever
            for asked in batch:
                asked.error = error
        finally:
            for asked in batch:
                asked.done = True

    def _averaged(self, there: list[tuple[_Asked, Any]]) -> list[Pixels]:
        if self._average and there:
            return self._average.bring([(image.__cuda_array_interface__, asked.scale) for asked, image in there])
        return [averaged(np.asarray(image.cpu()), asked.scale) for asked, image in there]


def averaged(photo: Pixels, scale: int) -> Pixels:
    """Return means of scale x scale values, computed on the CPU: `uint8 [h, w, 3]` → `uint8 [h/scale, w/scale, 3]`."""
    return photo if scale == 1 else np.asarray(Image.fromarray(photo).reduce(scale))


def _decoder(nvimgcodec: Any, device: Literal["gpu", "cpu"]) -> Any:
    """Return a decoder of the first kind that works here. Raises ConfigError if there is none.

    The JPEG decoders are asked for alone. Together with the kernels, nvimgcodec may give photos to the kernels, which
    undo the Huffman code on one core: an H100 then decoded 803 images/s of 800 x 600 instead of 10,940.
    """
    kinds = {
        "gpu": ([nvimgcodec.HW_GPU_ONLY], [nvimgcodec.GPU_ONLY, nvimgcodec.HYBRID_CPU_GPU]),
        "cpu": ([nvimgcodec.CPU_ONLY],),
    }[device]
    reason = ""
    for backends in kinds:
        try:
            return nvimgcodec.Decoder(
                device_id=0 if device == "gpu" else nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY,
                max_num_cpu_threads=1,
                backends=[nvimgcodec.Backend(kind) for kind in backends],
            )
        except RuntimeError as error:
            reason = str(error)
    raise ConfigError(f"jpeg_decoder: nvimgcodec finds no {device} to decode on ({reason}); {_MISSING}")


def _on_gpu() -> Average:
    try:
        from engines.gpu.cuda_bindings import CudaBindings
        from engines.pixels._average import Average
    except ImportError as error:
        raise ConfigError(f"jpeg_decoder: {error}; {_MISSING}") from None
    return Average(CudaBindings(0))


def _probe() -> tuple[bytes, Pixels]:
    """Return a JPEG with every hue, and Pillow's pixels for it at half the scale."""
    across, down = np.meshgrid(*[np.arange(_PROBE_SIDE) * 64 // _PROBE_SIDE] * 2)
    hues = np.stack([across * 3, down * 3, 255 - across * 2 - down], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(hues).save(buffer, "JPEG", quality=95)
    return buffer.getvalue(), averaged(np.asarray(Image.open(buffer).convert("RGB")), 2)
