"""JPEGs on the GPU's own decoder, through NVIDIA's nvimgcodec; the same package decodes on a processor, to compare.

Only what the processor's path has let through comes here: `decode` walks the file and bounds its header first. The
GPU undoes the Huffman code and the transform, which is most of a decode, and averages the photo down to the scale that
Pillow would have decoded to; it is resized here as ever. Photos that several threads bring go there as one batch.
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

_BATCH_PHOTOS = 64  # H100 and H200 have seven engines; nine photos each hide the launch
_BATCH_PIXELS = 64_000_000  # 192 MB on the GPU and as much here: one photo at the limit, or 133 of 800 x 600
MAX_APART = 8  # of 255, from Pillow's pixels: transforms and chroma filters of different libraries round otherwise
MAX_APART_GPU = 24  # the same of a photo on a GPU's engines, at edges of colour; 15 was the most of 44 on an H100
_PROBE_SIDE = 256  # what engines decode; they may leave a smaller photo to others
_VERBOSITY = "PYNVIMGCODEC_VERBOSITY"
_MISSING = "pip install 'groknet[gpu]', or set tagger.jpeg_decoder to pillow"

Pixels = npt.NDArray[np.uint8]


class JpegDecoder(Protocol):
    """Decodes whole JPEGs elsewhere than in the calling thread. Thread-safe."""

    def decode(self, data: bytes, size: tuple[int, int], scale: int) -> Pixels | None:
        """RGB as it lies in the file, neither turned nor colour-managed, uint8 [ceil(height / scale), ceil(width /
        scale), 3], each value the mean of scale x scale; blocks.

        `size`: width and height by the header, which bound a batch. None where this decoder cannot decode that file:
        another one is to judge it. Raises RuntimeError or DeviceLost where the device fails, no photo's fault.
        """


def open_jpeg_decoder(name: JpegDecoderName) -> JpegDecoder | None:
    """The GPU's decoder for `nvimgcodec`, None for `pillow`, which `decode` itself has.

    Raises ConfigError where the package or the GPU is missing.
    """
    return NvImageCodec() if name == "nvimgcodec" else None


class _Asked:
    """One photo on its way through a batch."""

    def __init__(self, data: bytes, pixels: int, scale: int) -> None:
        self.data, self.pixels, self.scale = data, pixels, scale
        self.done = False
        self.found: Pixels | None = None
        self.error: Exception | None = None


class NvImageCodec:
    """One nvimgcodec decoder. Whoever holds it decodes for all that wait: batches grow with the load, unwaited for."""

    def __init__(self, device: Literal["gpu", "cpu"] = "gpu") -> None:
        """
        Args:
            device: `gpu` is the first that CUDA_VISIBLE_DEVICES leaves, its JPEG engines, or its kernels where it has
                none; `cpu` is the package's libjpeg-turbo, for machines without one.

        Raises:
            ConfigError: nvimgcodec, cuda-bindings or NVRTC is not installed, or there is no decoder for that device.
        """
        os.environ.setdefault(_VERBOSITY, "0")  # it writes to stderr of each photo that it refuses; we judge them
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
        """Decode a photo whose pixels are known: a library that is missing behind nvimgcodec, or a GPU on which the
        pixels come out otherwise, shows before any photo of a seller does."""
        data, expected = _probe()
        found = self.decode(data, (_PROBE_SIDE, _PROBE_SIDE), 2)
        if found is None:  # as where nvJPEG is not installed
            raise ConfigError(f"jpeg_decoder: nvimgcodec cannot decode a JPEG on this {device}; {_MISSING}")
        apart = int(np.abs(found.astype(np.int64) - expected).max())
        if apart > MAX_APART:
            raise ConfigError(
                f"jpeg_decoder: on this {device} pixels are up to {apart} from Pillow's, at most {MAX_APART} are "
                "allowed; set tagger.jpeg_decoder to pillow"
            )

    def _batch(self) -> list[_Asked]:
        """The first that wait, at least one. Only whoever has the turn takes from the queue."""
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
        except Exception as error:  # told to each that asked: none of them may wait for ever
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
    """Means of scale x scale values, on the processor."""
    return photo if scale == 1 else np.asarray(Image.fromarray(photo).reduce(scale))


def _decoder(nvimgcodec: Any, device: Literal["gpu", "cpu"]) -> Any:
    """A decoder of the first kind that there is here; raises ConfigError where there is none.

    The JPEG engines stand alone: beside the kernels nvimgcodec may give photos to those, which undo the Huffman code on
    one core, and an H100 then decoded at their speed (800 x 600: 803 images/s in place of 10,940).
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
    """A JPEG with every hue, and what Pillow makes of it at half the scale."""
    across, down = np.meshgrid(*[np.arange(_PROBE_SIDE) * 64 // _PROBE_SIDE] * 2)
    hues = np.stack([across * 3, down * 3, 255 - across * 2 - down], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(hues).save(buffer, "JPEG", quality=95)
    return buffer.getvalue(), averaged(np.asarray(Image.open(buffer).convert("RGB")), 2)
