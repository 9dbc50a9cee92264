"""Bytes to the network's pixels: `python -m benchmarks.engine.decode`.

It decodes 1600 x 1200 photos (studio renders with added sensor noise, quality 85) with `engines.pixels.decode` and, in
turn, with Pillow's full decode and resize, in processor time of one core. Then it compares threads with processes.
"""

from __future__ import annotations

import io
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.report import page, parser, table, versions, write_page
from engines.pixels import MOST_PHOTOS, DecodeProcesses, SlotPhoto, decode
from engines.pixels.nvimgcodec import NvImageCodec, averaged
from schemas.errors import ConfigError
from schemas.manifest import Preprocess
from training.studio import TEST_IDENTITIES, make_product, render

SIZE = (1600, 1200)
SMALL = (800, 600)
NOISE = (0.0, 2.0, 4.0, 7.0)  # standard deviation of a grey level: none, daylight, indoors, night
PREPROCESS = Preprocess(width=224, height=224)  # the demo bundle's
WORKERS = 2
NOTE = """The goal is 3 times Pillow's full decode. Photos with little noise are well above it, noisy ones below:
their files are longer, and a reduced decode must undo the whole Huffman code as well. Other work on the machine
changes the ratio, because it takes cache that only the full decode needs. libjpeg-turbo at the reduced scale takes
three quarters of a decode, the resize a sixth (0.8 ms), the checks 0.15 ms. Three alternatives were tried.
simplejpeg, even with its fast transform and chroma, uses the same libjpeg-turbo, gives the same pixels, and gains
nothing after the same checks. kornia-rs resizes in 0.5 ms without antialiasing (3.6 apart on average, 78 at most, on
a picture of random blocks). A box filter would save a third of the resize, but changes pixels by 0.9 on average and
53 at most; the filter that the network was trained with changes them by 0.3 and 12."""
POOLS = """A tagger decodes in threads unless `tagger.decode_processes` is set. libjpeg and the resize take nine
tenths of a decode, both without the interpreter lock. So on two idle cores, two threads are about as fast as two
processes that write into slots of shared memory. On many cores the lock limits threads, and in a busy tagger decoding
takes it from everything else; processes are better there. Photos decoded by threads are copied into the batch, which
takes {copy:.3f} ms of processor time for each photo. Adjacent slots are the batch without a copy."""
DEVICE = """With `tagger.jpeg_decoder = "nvimgcodec"` the GPU undoes the Huffman code and the transform and averages
the photo down. Checks, header and resize remain on the CPU. The table compares what remains with a decode by Pillow,
and shows how much the pixels differ when the package's CPU back end decodes. **The GPU itself was not measured
here.**"""
COLUMNS = """Images a second on one core, by processor time. *Mean* and *largest* are differences of a pixel's value,
out of 255. A decode at 1/8 mostly undoes the Huffman code, so no reduced decode can be faster."""


def photo(identity: int, noise: float, size: tuple[int, int] = SIZE) -> bytes:
    """A studio render as JPEG bytes, with noise of that standard deviation in grey levels."""
    pixels = render(make_product(identity), view=0, size=size).pixels.astype(np.float32)
    pixels += np.random.default_rng(identity).normal(0, noise, (*pixels.shape[:2], 1)) if noise else 0
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def photos(count: int, noise: float, size: tuple[int, int] = SIZE) -> list[bytes]:
    """Different products."""
    return [photo(identity, noise, size) for identity in TEST_IDENTITIES[:count]]


def full(data: bytes) -> NDArray[np.uint8]:
    """The usual way: open, convert, resize. Returns uint8 [height, width, 3]."""
    size = (PREPROCESS.width, PREPROCESS.height)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize(size, Image.Resampling.BILINEAR))


def ours(data: bytes) -> NDArray[np.uint8]:
    """The decoder of the workers, with all its checks. Returns uint8 [height, width, 3]."""
    return decode(data, PREPROCESS)


def entropy(data: bytes) -> None:
    """A decode at 1/8. It does little more than undo the Huffman code, which every reduced decode must do."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (SIZE[0] // 8, SIZE[1] // 8))
    image.load()


def _ms(action: Callable[[bytes], object], data: Sequence[bytes]) -> float:
    started = time.process_time()
    for one in data:
        action(one)
    return (time.process_time() - started) * 1000 / len(data)


def difference(data: Sequence[bytes]) -> tuple[float, int]:
    """The mean and the largest difference of a pixel value between our decode and the full decode."""
    apart = [np.abs(ours(one).astype(np.int64) - full(one)) for one in data]
    return float(np.mean(apart)), int(np.max(apart))


def per_core(data: Sequence[bytes], repeats: int) -> dict[str, float]:
    """Milliseconds of processor time a photo: the medians of `repeats` rounds, taken in turn."""
    actions: dict[str, Callable[[bytes], object]] = {"full": full, "ours": ours, "entropy": entropy}
    rounds = [{name: _ms(action, data) for name, action in actions.items()} for _ in range(repeats)]
    return {name: statistics.median(one[name] for one in rounds) for name in actions}


def _apart(processes: DecodeProcesses, data: Sequence[bytes]) -> None:
    """Decode in other processes, straight into slots of shared memory, as a tagger does."""
    for some in processes.decode(data):
        processes.give_back([one.slot for one in some if isinstance(one, SlotPhoto)])


def _rate(threads: int, parts: Sequence[Sequence[bytes]], action: Callable[[Sequence[bytes]], object]) -> float:
    """Images a second of an action on parts of all photos, by some threads."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(action, parts[:threads]))  # started, and warm
        started = time.perf_counter()
        list(pool.map(action, parts))
        return sum(map(len, parts)) / (time.perf_counter() - started)


def pools(data: Sequence[bytes], repeats: int, workers: int = WORKERS) -> dict[str, float]:
    """Images a second: one thread, as many threads as `workers`, as many processes that write into shared slots."""
    parts = [data[start : start + MOST_PHOTOS] for start in range(0, len(data), MOST_PHOTOS)]
    processes = DecodeProcesses(workers, PREPROCESS, thumbnail_side=0, slots=(workers + 1) * MOST_PHOTOS)
    found: dict[str, list[float]] = {"one thread": [], f"{workers} threads": [], f"{workers} processes": []}
    try:
        for _ in range(repeats):
            found["one thread"].append(_rate(1, parts, lambda some: [ours(one) for one in some]))
            found[f"{workers} threads"].append(_rate(workers, parts, lambda some: [ours(one) for one in some]))
            found[f"{workers} processes"].append(_rate(workers + 1, parts, partial(_apart, processes)))
    finally:
        processes.close()
    return {name: statistics.median(values) for name, values in found.items()}


class Decoded:
    """A JPEG decoder that keeps what it decoded, so that a photo costs nothing from the second time on."""

    def __init__(self) -> None:
        self._found: dict[tuple[bytes, int], NDArray[np.uint8]] = {}

    def decode(self, data: bytes, size: tuple[int, int], scale: int) -> NDArray[np.uint8]:
        """See `engines.pixels.JpegDecoder`."""
        if (data, scale) not in self._found:
            self._found[data, scale] = averaged(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), scale)
        return self._found[data, scale]


def device(count: int, repeats: int) -> str:
    """A table of what remains for the cores when a GPU decodes, by the size of the photos."""
    try:
        codec = NvImageCodec("cpu")
    except ConfigError:
        codec = None
    rows = []
    for size in (SMALL, SIZE):
        data = photos(count, 2.0, size)
        rest = partial(decode, preprocess=PREPROCESS, jpeg=Decoded())
        _ms(rest, data)
        rounds = [(_ms(ours, data), _ms(rest, data)) for _ in range(repeats)]
        pillow, left = (statistics.median(column) for column in zip(*rounds, strict=True))
        apart = [np.abs(ours(one).astype(int) - decode(one, PREPROCESS, jpeg=codec)) for one in data] if codec else []
        pixels = [f"{np.mean(apart):.2f}", np.max(apart)] if apart else ["not installed", ""]
        rows.append([f"{size[0]} × {size[1]}", f"{pillow:.2f}", f"{left:.2f}", f"{100 * left / pillow:.0f} %", *pixels])
    return table(["photo", "Pillow, ms", "left to the cores, ms", "share", "mean apart", "largest"], rows)


def copied(data: Sequence[bytes]) -> float:
    """Milliseconds of processor time to copy a photo into its batch."""
    decoded, rounds = [ours(one) for one in data], 200
    return _ms(lambda _: np.stack(decoded), [b""] * rounds) / len(decoded)


def measure(count: int, repeats: int) -> str:
    """All tables, as Markdown."""
    rows, total = [], Counter[str]()
    for noise in NOISE:
        data = photos(count, noise)
        ms, (mean, worst) = per_core(data, repeats), difference(data)
        total.update(ms)
        kilobytes = sum(map(len, data)) / len(data) / 1000
        cells = [f"{noise:g}", f"{kilobytes:.0f}", *(f"{1000 / ms[name]:.0f}" for name in ("full", "ours"))]
        bound = f"{ms['full'] / ms['entropy']:.2f}"
        rows.append([*cells, f"**{ms['full'] / ms['ours']:.2f}**", bound, f"{mean:.2f}", worst])
    rates = [f"{1000 * len(NOISE) / total[name]:.0f}" for name in ("full", "ours")]
    ratios = [f"{total['full'] / total[name]:.2f}" for name in ("ours", "entropy")]
    rows.append(["all four together", "", *rates, f"**{ratios[0]}**", ratios[1], "", ""])
    header = ["noise", "KB", "Pillow full, images/s", "ours, images/s", "ratio", "1/8 decode, ratio", "mean", "largest"]
    side = [[name, f"{rate:.0f}"] for name, rate in pools(photos(count, 2.0) * 16, repeats).items()]
    pool = table(["pool", "images/s"], side)
    notes = POOLS.format(copy=copied(photos(count, 2.0)))
    parts = [NOTE, COLUMNS, table(header, rows), "## Threads or processes", notes, pool]
    return "\n\n".join([*parts, "## On a GPU's own decoder", DEVICE, device(count, repeats)])


def main() -> None:
    """Read the options, measure, and print or write the page."""
    options_of = parser(__doc__, tells="page", repeats=7)
    options_of.add_argument("--photos", type=int, default=8, help="different photos a table row (default 8)")
    options = options_of.parse_args()
    command = f"python -m benchmarks.engine.decode --photos {options.photos} --repeats {options.repeats}"
    body = measure(options.photos, options.repeats)
    title = f"Decoding 1600 × 1200 JPEGs to {PREPROCESS.width} × {PREPROCESS.height}"
    text = page(title, command, versions("pillow", "numpy", "nvidia-nvimgcodec-cu13"), body)
    write_page(text, options.out)


if __name__ == "__main__":
    main()
