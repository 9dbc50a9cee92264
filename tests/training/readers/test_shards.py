"""Packed data sets are the same data sets."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from training.readers import read, read_photo, write_shards


def jpeg(seed: int, side: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def put(root: Path, *paths: str) -> None:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(jpeg(number))


def shard(path: Path, *members: tuple[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_packed_is_the_same_data_set(tmp_path: Path) -> None:
    put(tmp_path / "d", "a.JPG", "b/c.png", "d.jpg")
    (tmp_path / "d/labels.csv").write_text(
        "path,split,domain,box,title\na.JPG,gallery,iconic,,Röd\nb/c.png,train,natural,0 0 .5 1,\n"
        "d.jpg,train,natural,,x|y\ngone.jpg,train,natural,,\n"
    )
    rows = read("csv", tmp_path / "d").rows
    packed = write_shards(tmp_path / "d", rows, tmp_path / "shards", per_shard=1)
    assert [shard.name for shard in packed.shards] == ["gallery-000000.tar", "train-000000.tar", "train-000001.tar"]
    assert (packed.photos, list(packed.skipped)) == (3, ["gone.jpg"])
    back = read("webdataset", tmp_path / "shards", validation=0.0)
    assert back.skipped == {}
    assert back.rows == [
        {**row, "path": f"{shard.name}/000000.{kind}", "origin": row["path"]}
        for row, shard, kind in zip(rows, packed.shards, ("jpg", "png", "jpg"), strict=False)
    ]
    for row in back.rows:
        assert read_photo(tmp_path / "shards", row["path"]) == (tmp_path / "d" / row["origin"]).read_bytes()
    write_shards(tmp_path / "d", rows, tmp_path / "again", per_shard=1)
    for shard in packed.shards:
        assert shard.read_bytes() == (tmp_path / "again" / shard.name).read_bytes()
