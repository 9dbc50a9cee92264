"""Pack a data set of any layout into plain tar shards, to carry it to another machine. The `webdataset` reader reads
them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from engines.files import replacing
from engines.pixels import PHOTO_SUFFIXES
from schemas.errors import ConfigError
from training.readers.label_table import Row
from training.readers.photo_bytes import read_photo

PER_SHARD = 1000  # photos in a shard, 10 to 300 MB: small enough to send again after a failure
_KINDS = frozenset(suffix.removeprefix(".") for suffix in PHOTO_SUFFIXES)


@dataclass
class Packed:
    """The shards, how many photos are in them, and the photos that could not be read: path → why."""

    shards: list[Path] = field(default_factory=list)
    photos: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def write_shards(
    folder: Path,
    rows: Sequence[Row],
    out: Path,
    *,
    per_shard: int = PER_SHARD,
    progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Write `out/SPLIT-000000.tar` and so on: the photos' own bytes, and their columns as json. The column `origin` is
    the photo's former path.

    Equal photos and rows give equal shards.

    Args:
        folder: of the data set.
        rows: what to pack.
        out: folder of the shards.
        per_shard: photos in a shard, at most.
        progress: called with the photos done and the photos in all.

    Raises:
        ConfigError: `out` has shards already, or not one photo could be read.
    """
    if out.is_dir() and any(out.glob("*.tar")):
        raise ConfigError(f"--out {out}: the folder has shards already; name another folder, or remove them")
    out.mkdir(parents=True, exist_ok=True)
    packed = Packed()
    for split in dict.fromkeys(row["split"] for row in rows):
        samples = _samples(folder, [row for row in rows if row["split"] == split], packed, len(rows), progress)
        for number in range(len(rows)):
            some = list(islice(samples, per_shard))
            if not some:
                break
            packed.shards.append(_write(out / f"{split}-{number:06d}.tar", some))
    if not packed.photos:
        path, why = next(iter(packed.skipped.items()))
        raise ConfigError(f"data: not one of {len(rows)} photos of {folder} could be packed; the first, {path}, {why}")
    return packed


def _samples(
    folder: Path, rows: Sequence[Row], packed: Packed, total: int, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[str, bytes, Row]]:
    for row in rows:
        try:
            data = read_photo(folder, row["path"])
        except OSError as error:
            packed.skipped[row["path"]] = f"cannot be read: {error.strerror or error}"
            continue
        packed.photos += 1
        if progress is not None:
            progress(packed.photos + len(packed.skipped), total)
        kind = PurePosixPath(row["path"]).suffix.lower().removeprefix(".")
        yield kind if kind in _KINDS else "jpg", data, row


def _write(shard: Path, samples: Sequence[tuple[str, bytes, Row]]) -> Path:
    with replacing(shard) as part, tarfile.open(part, "w") as tar:
        for number, (kind, data, row) in enumerate(samples):
            labels = {name: value for name, value in row.items() if name != "path"} | {"origin": row["path"]}
            for name, content in (
                (f"{number:06d}.{kind}", data),
                (f"{number:06d}.json", json.dumps(labels, ensure_ascii=False).encode()),
            ):
                member = tarfile.TarInfo(name)  # without time and owner, so that equal photos give equal shards
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return shard
