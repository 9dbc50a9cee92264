"""Near copies of real photos with what the engine says of them, for `benchmarks.listings.products`. They are kept in a
file."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from benchmarks.cleaning.near_duplicates import Picture, saved
from engines.pixels import decode_photo
from engines.recognition import RecognitionEngine, build_engine
from schemas.predictions import Predictions
from training.readers import read

SHOPS = ("grocery", "fashion")
HARD = "half as large"
"""The one change that the target does not count."""


class Version(msgspec.Struct, frozen=True):
    """One version of a photo: what was done to it, its hash in hex, and the labels that each head offers."""

    change: str
    code: str
    labels: dict[str, list[str]]
    tiny: bytes


class Original(msgspec.Struct, frozen=True):
    """A photo of a data set with its versions; the first one is the photo itself. `product` is its identity."""

    shop: str
    product: str
    versions: list[Version]


@dataclass(frozen=True)
class _Made:
    change: str
    data: bytes


def copies(picture: Picture) -> Iterator[_Made]:
    """A photo as other sellers upload it: recompressed, resized, slightly cropped. The photos of the data sets have at
    least 60 pixels a side and mostly 256, so the half of one is a thumbnail."""
    width, height = picture.size
    cut = round(0.05 * width), round(0.05 * height)
    cropped = picture.crop((*cut, width - cut[0], height - cut[1]))
    yield _Made("as it is", saved(picture, 95))
    yield _Made("JPEG of quality 40", saved(picture, 40))
    yield _Made("three quarters as large", saved(_scaled(picture, 0.75)))
    yield _Made("5 % cut off each side", saved(cropped))
    yield _Made("cut, three quarters as large, quality 60", saved(_scaled(cropped, 0.75), 60))
    yield _Made(HARD, saved(_scaled(picture, 0.5)))


def _scaled(picture: Picture, share: float) -> Picture:
    width, height = picture.size
    return picture.resize((round(share * width), round(share * height)), Image.Resampling.BICUBIC)


def _tiny(webp: bytes) -> bytes:
    """The stored thumbnail, as 32 × 32 RGB."""
    with Image.open(io.BytesIO(webp)) as opened:
        return opened.convert("RGB").resize((32, 32), Image.Resampling.BOX).tobytes()


def originals(data: Path, bundle: Path, split: str, *, count: int, seed: int, kept: Path) -> list[Original]:
    """`count` photos of a split, half of them groceries and half clothes, with their versions. Read from `kept` if it
    has been made before."""
    file = kept / f"{bundle.name}-{split}-{count}-{seed}.json"
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=list[Original])
    draw = random.Random(seed)
    engine = build_engine(bundle)
    try:
        found = [one for shop in SHOPS for one in _of_shop(engine, data / shop, split, count // 2, draw)]
    finally:
        engine.close()
    kept.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.encode(found))
    return found


def _of_shop(
    engine: RecognitionEngine, folder: Path, split: str, count: int, draw: random.Random
) -> Iterator[Original]:
    rows = [row for row in read("csv", folder).rows if row["split"] == split]
    for row in draw.sample(rows, min(count, len(rows))):
        with Image.open(io.BytesIO((folder / row["path"]).read_bytes())) as opened:
            made = list(copies(opened.convert("RGB")))
        decoded = [decode_photo(one.data, engine.manifest.preprocess) for one in made]
        answers = engine.infer(np.stack([one.pixels for one in decoded]))
        versions = []
        for i, one in enumerate(made):
            said: Predictions = answers.row(i, engine.manifest)
            labels = {head: [label.label for label in found if label.offered] for head, found in said.items()}
            offered = {head: names for head, names in labels.items() if names}
            versions.append(Version(one.change, answers.hash[i].tobytes().hex(), offered, _tiny(decoded[i].thumbnail)))
        yield Original(folder.name, row.get("product") or row["path"], versions)
