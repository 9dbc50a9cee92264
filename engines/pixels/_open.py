"""Opens a photo with the decoder of its format, which sees only what a decode needs, and counts its processor time."""

from __future__ import annotations

import hashlib
import io
import time
import warnings
from collections.abc import Callable

from PIL import AvifImagePlugin, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from engines.pixels.formats import Header, jpeg, png
from engines.pixels.formats.header import animated, corrupt
from engines.pixels.formats.heif import decodes
from engines.pixels.limits import PixelLimits
from schemas.errors import Invalid

_BLOCK_BYTES = 1 << 20  # of a JPEG that is decoded at once; one read instead of 16 saves 1 % of a decode
_SMALL_READ, _SMALL_READS = 16_384, 256  # the clock is asked at each larger read, and at every 256th of the others
_EOI = b"\xff\xd9"
# Where bits are missing, libjpeg reads zeros; these begin with a one. No FF, so that no marker is in it.
_NOISE = b"\xaa" * 8 + bytes(1 + (i * i * 7 + i * 31) % 250 for i in range(64))

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # photos are decoded side by side; threads of one photo would hold more memory
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # strangers' damaged EXIF would fill the log


class Clock(io.BytesIO):
    """A photo's bytes, which a decoder reads as long as the decode has processor time left."""

    def __init__(self, data: bytes, most_s: float) -> None:
        super().__init__(data)
        self._most_s = most_s
        self._reads = 0
        self._end = time.thread_time() + most_s

    def check(self) -> None:
        """Raises Invalid `too_slow` when the decode has used up its processor time."""
        if time.thread_time() > self._end:
            text = f"decoding takes more than {self._most_s:g} s of processor time"
            raise Invalid("decode", "too_slow", f"{text}; send a smaller photo, or a baseline JPEG")

    def read(self, size: int | None = -1, /) -> bytes:
        """See `io.BytesIO.read`. Raises as `check` does.

        A header is read in dozens of small parts; asking the clock for each would cost a twentieth of a decode.
        """
        self._reads += 1
        if size is None or size < 0 or size >= _SMALL_READ or self._reads % _SMALL_READS == 0:
            self.check()
        return super().read(size)


class Opened:
    """A photo whose header the decoder has read, and that is not decoded yet.

    Attributes:
        image: Pillow's image.
        profile: the colour profile as far as it is known before the decode.
        whole: it is a JPEG with its end marker, which any JPEG decoder may decode.
    """

    def __init__(self, data: bytes, header: Header, limits: PixelLimits) -> None:
        """Raises Invalid `corrupt`, `truncated`, `too_many_scans`, `too_slow` or `animated`."""
        self._limits, self._ending, self.whole = limits, None, False
        self.profile = header.profile
        if header.kind == "JPEG":
            ending = jpeg.check(data, header, limits)
            self.whole = ending.marked
            self._ending = None if ending.marked else ending
            data = data if ending.marked else data[: ending.length] + _EOI
        elif header.kind == "PNG":
            cleaned = png.clean(data)
            data, self.profile = cleaned.data, cleaned.profile
        self._data = data
        self.image = self._opened(header, data)
        size = self.image.size
        if size[0] * size[1] > header.width * header.height:
            raise corrupt("the photo is larger than its header says; send it again")
        # A second JPEG frame (MPO) is a phone's depth or gain map, which is never shown. The first frame is the photo.
        if header.kind in ("PNG", "WEBP", "AVIF") and getattr(self.image, "n_frames", 1) > 1:
            raise animated()

    def _opened(self, header: Header, data: bytes) -> ImageFile.ImageFile:
        opener = _opener(header)
        self.clock = Clock(data, self._limits.max_seconds)
        try:
            return opener(self.clock)
        except (MemoryError, Invalid):
            raise
        except Exception:  # every header parser raises its own types, and the bytes are always at fault
            raise corrupt("the photo's header cannot be read; send it again") from None

    def load(self, least: tuple[int, int]) -> None:
        """Decode to at least that width and height. Raises what the decoder raises; Invalid `truncated`, `too_slow`."""
        self._load(self.image, least)
        if self._ending is None:
            return
        # Without an end marker the photo may lack rows, which libjpeg would paint grey. If all bits are there, none of
        # what follows them changes a pixel.
        digest = _digest(self.image)
        other = JpegImageFile(io.BytesIO(self._data[:-2] + _NOISE + _EOI))
        del self.image
        self._load(other, least)
        self.image = other
        if _digest(other) == digest:
            return
        if self._ending.stray:
            text = f"JPEG data is damaged: marker FF{self._ending.stray:02X} inside a scan; send it again"
            raise corrupt(text)
        raise Invalid("decode", "truncated", "the photo ends before its last row; send the whole file")

    def _load(self, image: ImageFile.ImageFile, least: tuple[int, int]) -> None:
        if isinstance(image, JpegImageFile):
            image.draft("RGB", least)
            image.decodermaxblock = min(len(self._data), _BLOCK_BYTES)
        image.load()
        self.clock.check()


def _digest(image: Image.Image) -> bytes:
    """The hash of all pixels, some rows at a time."""
    found = hashlib.blake2b()
    rows = max(1, (1 << 20) // (4 * image.width))
    for top in range(0, image.height, rows):
        found.update(image.crop((0, top, image.width, min(image.height, top + rows))).tobytes())
    return found.digest()


def _opener(header: Header) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    if header.kind == "HEIF":
        return _heif_opener()
    return {"JPEG": JpegImageFile, "PNG": PngImageFile, "WEBP": WebPImageFile, "AVIF": AvifImageFile}[header.kind]


def _heif_opener() -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    """Return the decoder of the extra `heif`, which decodes the photo alone, in this thread."""
    import pillow_heif

    options = pillow_heif.options
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    options.DECODE_THREADS = 1
    opener: Callable[[io.BytesIO], ImageFile.ImageFile] = pillow_heif.HeifImageFile
    return opener


def formats_taken() -> str:
    """Return the formats that this installation decodes, for people, and how to add HEIC."""
    taken = ["JPEG", "PNG", "WebP", *(["AVIF"] if decodes("AVIF") else []), *(["HEIC"] if decodes("HEIF") else [])]
    text = f"{', '.join(taken[:-1])} or {taken[-1]}"
    return text if decodes("HEIF") else f"{text} (HEIC: pip install 'groknet[heif]')"
