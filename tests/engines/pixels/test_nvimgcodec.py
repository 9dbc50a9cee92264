"""JPEGs decoded by nvimgcodec, on the GPU where there is one and on its own processor back end everywhere."""

from __future__ import annotations

import io
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.engine.decode import photo
from engines.pixels import decode, decode_photo, open_jpeg_decoder
from engines.pixels.nvimgcodec import MAX_APART, MAX_APART_GPU, NvImageCodec
from schemas.errors import ConfigError, Invalid
from schemas.manifest import Preprocess
from training.studio import TEST_IDENTITIES

pytest.importorskip("nvidia.nvimgcodec", reason="nvidia-nvimgcodec is not published for this platform")

GPU = Path("/dev/nvidiactl").exists()
SIZE = Preprocess(width=176, height=176)
MEAN, LARGEST = 1.0, MAX_APART_GPU if GPU else MAX_APART  # of 255; `engines.pixels.decode` states the wider


@pytest.fixture(scope="module", params=["cpu", "gpu"] if GPU else ["cpu"])
def codec(request: pytest.FixtureRequest) -> NvImageCodec:
    return NvImageCodec(request.param)


class Watched:
    """A decoder that counts what it was asked and what it gave."""

    def __init__(self, inner: NvImageCodec) -> None:
        self._inner = inner
        self.asked = self.given = 0

    def decode(self, data: bytes, size: tuple[int, int], scale: int) -> np.ndarray | None:
        self.asked += 1
        found = self._inner.decode(data, size, scale)
        self.given += found is not None
        return found


def again(data: bytes, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "JPEG", **({"quality": 85} | options))
    return buffer.getvalue()


def apart(data: bytes, codec: NvImageCodec, preprocess: Preprocess = SIZE) -> np.ndarray:
    """Differences of each value from Pillow's, having seen that it was not Pillow that decoded. A GPU's engines leave
    some kinds to it, such as progressive ones."""
    watched = Watched(codec)
    pixels = decode(data, preprocess, jpeg=watched)
    assert watched.asked == 1
    assert watched.given == 1 or GPU
    return np.abs(pixels.astype(int) - decode(data, preprocess))


@pytest.mark.parametrize("size", [(1600, 1200), (800, 600), (333, 517), (176, 176), (90, 120)])
@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_pixels_are_pillows_within_the_bound(codec: NvImageCodec, size: tuple[int, int], noise: float) -> None:
    found = apart(photo(TEST_IDENTITIES[0], noise, size), codec)
    assert found.mean() < MEAN
    assert found.max() <= LARGEST


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 40}])
def test_every_kind_of_colour_jpeg(codec: NvImageCodec, options: dict[str, object]) -> None:
    found = apart(again(photo(TEST_IDENTITIES[1], 2.0, (800, 600)), **options), codec)
    assert found.mean() < MEAN
    assert found.max() <= LARGEST


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_with_thumbnail_and_size(codec: NvImageCodec, orientation: int) -> None:
    """Turned here, by the same step as ever: not by the decoder, which would turn it a second time."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = again(photo(TEST_IDENTITIES[2], 0.0, (640, 400)), exif=exif)
    wide = Preprocess(width=200, height=100)
    assert apart(data, codec, wide).max() <= LARGEST
    theirs, ours = decode_photo(data, wide), decode_photo(data, wide, jpeg=codec)
    assert (ours.width, ours.height) == (theirs.width, theirs.height)
    assert Image.open(io.BytesIO(ours.thumbnail)).size == Image.open(io.BytesIO(theirs.thumbnail)).size


@pytest.mark.parametrize("size", [(1408, 1408), (1600, 1200), (709, 711), (353, 352), (351, 900)])
def test_scales_are_those_of_a_draft(codec: NvImageCodec, size: tuple[int, int]) -> None:
    """The photo comes back as large as Pillow would have decoded it, at every scale and with edges that are left."""
    data = photo(TEST_IDENTITIES[3], 0.0, size)
    given: list[tuple[int, ...]] = []

    class Shapes:
        def decode(self, data: bytes, size: tuple[int, int], scale: int) -> np.ndarray | None:
            found = codec.decode(data, size, scale)
            given.append(() if found is None else found.shape)
            return found

    decode(data, SIZE, jpeg=Shapes())
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (SIZE.width, SIZE.height))
    assert given == [(image.height, image.width, 3)]


def test_a_device_whose_pixels_are_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    black = np.zeros((128, 128, 3), np.uint8)  # as large as half the photo that is tried
    monkeypatch.setattr(NvImageCodec, "decode", lambda self, data, size, scale: black)
    with pytest.raises(ConfigError, match=r"pixels are up to \d+ from Pillow's"):
        NvImageCodec("cpu")


def test_many_threads_get_their_own_photos(codec: NvImageCodec) -> None:
    data = [photo(identity, 2.0, (400, 300)) for identity in TEST_IDENTITIES[:6]] * 6
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda one: decode(one, SIZE, jpeg=codec), data))
    alone = [decode(one, SIZE, jpeg=codec) for one in data[:6]]
    assert all((pixels == alone[i % 6]).all() for i, pixels in enumerate(found))


def hostile() -> dict[str, bytes]:
    """By the error that each is refused with."""
    whole = photo(TEST_IDENTITIES[0], 2.0, (400, 300))
    start = whole.index(b"\xff\xda")
    scan = whole[start:-2]
    broken = bytearray(whole)
    broken[start + 2000 : start + 2002] = b"\xff\xc0"  # a frame header inside a scan
    return {
        "corrupt": bytes(broken),
        "too_many_scans": whole[:start] + scan[:40] * 200 + b"\xff\xd9",
        "too_many_pixels": whole.replace((300).to_bytes(2) + (400).to_bytes(2), b"\xff\xff\xff\xff", 1),
        "truncated": whole[: len(whole) // 2],
        "not_an_image": b"<html>",
    }


@pytest.mark.parametrize("error", list(hostile()))
def test_hostile_files_meet_the_guards_before_the_decoder(codec: NvImageCodec, error: str) -> None:
    watched = Watched(codec)
    with pytest.raises(Invalid) as caught:
        decode(hostile()[error], SIZE, jpeg=watched)
    assert (caught.value.stage, caught.value.error, watched.asked) == ("decode", error, 0)


def test_what_it_cannot_decode_is_pillows_to_judge(codec: NvImageCodec, caplog: pytest.LogCaptureFixture) -> None:
    """A scan that ends early, with its end marker: whatever the decoder makes of it, the photo is not lost for it."""
    whole = photo(TEST_IDENTITIES[0], 0.0, (400, 300))
    short = whole[: len(whole) * 2 // 3].rstrip(b"\xff") + b"\xff\xd9"
    with caplog.at_level(logging.ERROR):
        assert decode(short, SIZE, jpeg=codec).shape == (176, 176, 3)
    assert codec.decode(b"no JPEG", (1, 1), 1) is None


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_stay_with_pillow(codec: NvImageCodec, mode: str) -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo(TEST_IDENTITIES[0], 0.0, (400, 300)))).convert(mode).save(buffer, "JPEG")
    watched = Watched(codec)
    assert (decode(buffer.getvalue(), SIZE, jpeg=watched) == decode(buffer.getvalue(), SIZE)).all()
    assert watched.asked == 0


def test_a_failing_device_is_told_to_all_that_wait(codec: NvImageCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def decode(self, *_: object, **__: object) -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(codec, "_decoder", Broken())
    data = photo(TEST_IDENTITIES[0], 0.0, (400, 300))

    def fails(_: int) -> bool:
        with pytest.raises(RuntimeError, match="illegal memory access"):
            decode(data, SIZE, jpeg=codec)
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(fails, range(12)))


@pytest.mark.skipif(GPU, reason="there is a GPU here")
def test_without_a_gpu_the_setting_is_refused_with_the_remedy() -> None:
    assert open_jpeg_decoder("pillow") is None
    with pytest.raises(ConfigError, match=r"jpeg_decoder: nvimgcodec finds no gpu.*tagger.jpeg_decoder to pillow"):
        open_jpeg_decoder("nvimgcodec")


def test_without_the_package_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", None)
    monkeypatch.delattr("nvidia.nvimgcodec", raising=False)
    with pytest.raises(ConfigError, match=r"cannot be imported.*groknet\[gpu\]"):
        NvImageCodec("cpu")
