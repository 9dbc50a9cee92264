"""JPEGs on the GPU's own decoder, through NVIDIA's nvimgcodec; the same package decodes on a processor, to compare.

Only what the processor's path has let through comes here: `decode` walks the file and bounds its header first. The
GPU undoes the Huffman code and the transform, which is most of a decode; the whole photo then comes back, and is
reduced and resized here as ever. Photos that several threads bring meanwhile go to the GPU as one batch.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from schemas.errors import ConfigError

JpegDecoderName = Literal["pillow", "nvimgcodec"]
JPEG_DECODERS: tuple[JpegDecoderName, ...] = get_args(JpegDecoderName)

_BATCH_PHOTOS = 64  # H100 and H200 have seven engines; nine photos each hide the launch
_BATCH_PIXELS = 64_000_000  # 192 MB on the GPU and as much here: one photo at the limit, or 133 of 800 x 600
_PROBE_SIDE = 64
_VERBOSITY = "PYNVIMGCODEC_VERBOSITY"
_MISSING = "pip install 'groknet[gpu]', or set tagger.jpeg_decoder to pillow"

Pixels = npt.NDArray[np.uint8]


class JpegDecoder(Protocol):
    """Decodes whole JPEGs elsewhere than in the calling thread. Thread-safe."""

    def decode(self, data: bytes, pixels: int) -> Pixels | None:
        """RGB as it lies in the file, uint8 [height, width, 3], neither turned nor colour-managed; blocks.

        `pixels`: width x height by the header, which bounds a batch. None where this decoder cannot decode that file:
        another one is to judge it. Raises RuntimeError where the device fails, which is no photo's fault.
        """


def open_jpeg_decoder(name: JpegDecoderName) -> JpegDecoder | None:
    """The GPU's decoder for `nvimgcodec`, None for `pillow`, which `decode` itself has.

    Raises ConfigError where the package or the GPU is missing.
    """
    return NvImageCodec() if name == "nvimgcodec" else None


class _Asked:
    """One photo on its way through a batch."""

    def __init__(self, data: bytes, pixels: int) -> None:
        self.data, self.pixels = data, pixels
        self.done = False
        self.found: Pixels | None = None
        self.error: Exception | None = None


class NvImageCodec:
    """One nvimgcodec decoder. Whoever holds it decodes for all that wait: batches grow with the load, unwaited for."""

    def __init__(self, device: Literal["gpu", "cpu"] = "gpu") -> None:
        """
        Args:
            device: `gpu` is the first that CUDA_VISIBLE_DEVICES leaves, its engines before its kernels; `cpu` is
                the package's libjpeg-turbo, for machines without one.

        Raises:
            ConfigError: nvimgcodec is not installed, or has no decoder for that device.
        """
        os.environ.setdefault(_VERBOSITY, "0")  # it writes to stderr of each photo that it refuses; we judge them
        try:
            from nvidia import nvimgcodec
        except ImportError as error:
            raise ConfigError(f"jpeg_decoder: nvimgcodec cannot be imported ({error}); {_MISSING}") from None
        kinds = {
            "gpu": (nvimgcodec.HW_GPU_ONLY, nvimgcodec.GPU_ONLY, nvimgcodec.HYBRID_CPU_GPU),
            "cpu": (nvimgcodec.CPU_ONLY,),
        }[device]
        try:
            self._decoder: Any = nvimgcodec.Decoder(
                device_id=0 if device == "gpu" else nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY,
                max_num_cpu_threads=1,
                backends=[nvimgcodec.Backend(kind) for kind in kinds],
            )
        except RuntimeError as error:
            raise ConfigError(
                f"jpeg_decoder: nvimgcodec finds no {device} to decode on ({error}); {_MISSING}"
            ) from None
        self._params = nvimgcodec.DecodeParams(apply_exif_orientation=False, color_spec=nvimgcodec.SRGB)
        self._waiting: deque[_Asked] = deque()
        self._turn = threading.Lock()
        if self.decode(_probe(), _PROBE_SIDE**2) is None:  # as where the library behind it, nvJPEG, is not installed
            raise ConfigError(f"jpeg_decoder: nvimgcodec cannot decode a JPEG on this {device}; {_MISSING}")

    def decode(self, data: bytes, pixels: int) -> Pixels | None:
        """See `JpegDecoder.decode`."""
        asked = _Asked(data, pixels)
        self._waiting.append(asked)
        with self._turn:
            while not asked.done:
                self._serve(self._batch())
        if asked.error is not None:
            raise asked.error
        return asked.found

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
            images = self._decoder.decode([asked.data for asked in batch], params=self._params)
            for asked, image in zip(batch, images, strict=True):
                asked.found = None if image is None else np.asarray(image.cpu())
        except Exception as error:  # told to each that asked: none of them may wait for ever
            for asked in batch:
                asked.error = error
        finally:
            for asked in batch:
                asked.done = True


def _probe() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (_PROBE_SIDE, _PROBE_SIDE)).save(buffer, "JPEG")
    return buffer.getvalue()
