"""Perceptual hashes and the network's own hash: how fast they are, and what changes of a photo they survive.

    python -m benchmarks.cleaning.hashes_robustness --data FOLDER --photos 300

The table has one row for each change of cleaning_planted.toml. A figure is the share of changed copies that are nearer
to their original than 999 of 1,000 pairs of different photos are to each other, so all hashes are compared at one rate
of false pairs. `aligned` is what `groknet data dedup` does: pHash of warped copies, then the likeness of edges.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.cleaning.near_duplicates import copy_of, planted
from benchmarks.report import page, parser, table, versions, write_page
from engines.pixels import decode
from engines.recognition import RecognitionEngine, build_engine
from schemas.manifest import Preprocess
from training.cleaning.copies.alignment import SIDE, likeness, warps
from training.cleaning.copies.duplicates import DuplicateSettings
from training.cleaning.copies.hashes import HASHES, distances, p_hash
from training.readers import read

FALSE_PAIRS = 0.001
LOOKED_AT = 128  # pixels a side that dedup decodes to
Codes = NDArray[np.uint8]
Distance = Callable[[int, int], float]


def main() -> None:
    """Change, hash, compare, print."""
    made = parser(__doc__, tells="page", bundle=True)
    made.add_argument("--data", type=Path, required=True, help="folder of a data set with labels.csv")
    made.add_argument("--photos", type=int, default=300, help="originals (default 300)")
    made.add_argument("--seed", type=int, default=1)
    options = made.parse_args()
    draw = random.Random(options.seed)
    rows = draw.sample(read("csv", options.data).rows, options.photos)
    originals = [(options.data / row["path"]).read_bytes() for row in rows]
    changes = planted()["transformations"]
    engine = build_engine(options.bundle)
    try:
        body = _compare(originals, changes, draw, engine)
    finally:
        engine.close()
    command = f"python -m benchmarks.cleaning.hashes_robustness --data {options.data.name} --photos {options.photos}"
    write_page(page("Perceptual hashes", command, versions("numpy", "pillow", "faiss-cpu"), body), options.out)


def _compare(
    originals: list[bytes], changes: Mapping[str, list[float]], draw: random.Random, engine: RecognitionEngine
) -> str:
    copies: dict[str, list[bytes]] = {}
    for name, strengths in changes.items():
        pictures = (Image.open(io.BytesIO(data)).convert("RGB") for data in originals)
        copies[name] = [copy_of(picture, name, draw.choice(strengths)) for picture in pictures]
    methods = _methods(engine)
    scores = {name: _scores(method, originals, copies) for name, method in methods.items()}
    header = ["change", *methods, "aligned"]
    aligned = _aligned(originals, copies)
    lines = [[name, *(f"{scores[m][0][name]:.3f}" for m in methods), f"{aligned[0][name]:.3f}"] for name in copies]
    means = [np.mean(list(scores[m][0].values())) for m in methods] + [np.mean(list(aligned[0].values()))]
    lines.append(["mean", *(f"{mean:.3f}" for mean in means)])
    lines.append(["radius, bits", *(str(scores[m][1]) for m in methods), "–"])
    times = [scores[m][2] for m in methods] + [aligned[2]]
    lines.append(["µs a photo, without decode", *(f"{1e6 * seconds:.0f}" for seconds in times)])
    decoded = _time_decode(originals)
    return (
        table(header, lines)
        + f"\n\nDecoding to {LOOKED_AT} pixels takes {1e6 * decoded:.0f} µs a photo on one thread. False pairs of "
        f"`aligned`: {aligned[1]:.5f} of all pairs of different photos."
    )


def _methods(engine: RecognitionEngine) -> dict[str, Callable[[list[bytes]], tuple[Codes, float]]]:
    """Each hash by name: photos → codes, and seconds a photo without the decode."""

    def perceptual(name: str, bits: int) -> Callable[[list[bytes]], tuple[Codes, float]]:
        def hashed(photos: list[bytes]) -> tuple[Codes, float]:
            greys = np.stack([_grey(data, 64) for data in photos])
            HASHES[name](greys, bits)  # the first call is slower than all others
            began = time.perf_counter()
            codes = HASHES[name](greys, bits)
            return codes, (time.perf_counter() - began) / len(photos)

        return hashed

    def network(photos: list[bytes]) -> tuple[Codes, float]:
        parts, seconds = [], 0.0
        for start in range(0, len(photos), engine.max_batch):
            some = [decode(data, engine.manifest.preprocess) for data in photos[start : start + engine.max_batch]]
            began = time.perf_counter()
            parts.append(engine.infer(np.stack(some)).hash)
            seconds += time.perf_counter() - began
        return np.concatenate(parts), seconds / len(photos)

    found = {f"{name} {bits}": perceptual(name, bits) for name in HASHES for bits in (64, 256)}
    return found | {"network 256": network}


def _scores(
    method: Callable[[list[bytes]], tuple[Codes, float]], originals: list[bytes], copies: Mapping[str, list[bytes]]
) -> tuple[dict[str, float], int, float]:
    """For each change the share of copies that are found, the radius in bits, and seconds a photo."""
    codes, seconds = method(originals)
    left, right = np.triu_indices(len(codes), 1)
    radius = int(np.quantile(distances(codes[left], codes[right]), FALSE_PAIRS, method="lower"))
    found = {name: float((distances(codes, method(some)[0]) <= radius).mean()) for name, some in copies.items()}
    return found, radius, seconds


def _aligned(originals: list[bytes], copies: Mapping[str, list[bytes]]) -> tuple[dict[str, float], float, float]:
    """For each change the share of copies that dedup would find, its share of false pairs, and seconds a photo."""
    settings = DuplicateSettings()
    smalls = np.stack([_small(data) for data in originals])
    began = time.perf_counter()
    p_hash(warps(smalls).reshape(-1, SIDE, SIDE))
    seconds = (time.perf_counter() - began) / len(smalls)
    found = {
        name: float(_found(smalls, np.stack([_small(data) for data in some]), settings).mean())
        for name, some in copies.items()
    }
    rolled = [np.roll(smalls, shift, axis=0) for shift in range(1, min(20, len(smalls)))]
    false = float(np.mean([_found(smalls, other, settings).mean() for other in rolled]))
    return found, false, seconds


def _found(left: Codes, right: Codes, settings: DuplicateSettings) -> NDArray[np.bool_]:
    """Whether each pair would be found: a warped copy of either is near, and their edges are alike."""
    near = np.zeros(len(left), np.bool_)
    for one, other in ((left, right), (right, left)):
        warped = warps(one)
        codes = p_hash(other)
        for number in range(warped.shape[1]):
            near |= distances(p_hash(warped[:, number]), codes) <= settings.bits
    return near & (likeness(left, right) >= settings.likeness)


def _grey(data: bytes, side: int) -> Codes:
    pixels = decode(data, Preprocess(mode="squash", width=LOOKED_AT, height=LOOKED_AT))
    return np.asarray(Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.BOX))


def _small(data: bytes) -> Codes:
    return _grey(data, SIDE)


def _time_decode(photos: list[bytes]) -> float:
    began = time.perf_counter()
    for data in photos:
        decode(data, Preprocess(mode="squash", width=LOOKED_AT, height=LOOKED_AT))
    return (time.perf_counter() - began) / len(photos)


if __name__ == "__main__":
    main()
