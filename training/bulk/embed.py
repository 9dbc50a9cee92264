"""Embeds and hashes a whole data set in parts. A run that was stopped goes on.

Each part is a file that appears whole, and is not computed again. Batches are cut in the same way whatever computes
them, so with any number of workers and with either engine the arrays are equal to the byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engines.files import replacing
from engines.recognition import RecognitionEngine, build_engine
from schemas.errors import ConfigError
from training.bulk.engines import Engine, bulk_map
from training.readers.label_table import Row
from training.weak.embeddings import BATCH, Seen, chunks, embed

PART = 512  # photos; about 20 s of one core, which is what a dead worker costs
_AT_ONCE = 4 * BATCH  # photos of `embed_rows` that a worker takes at once, 2 to 5 s of one core
_NAME = "part-{:06d}.npz"
_ABOUT = "about.txt"


class EmbedPart(NamedTuple):
    """Some rows of a data set, and their place in it."""

    number: int
    rows: list[Row]


class PartReport(NamedTuple):
    """How many photos a part has, and the photos that could not be used: path → why."""

    photos: int
    skipped: dict[str, str]


def embed_all(
    bundle: Path,
    folder: Path,
    rows: Sequence[Row],
    out: Path,
    *,
    workers: int = 2,
    engine: Engine = "pool",
) -> Iterator[PartReport]:
    """Embed every row; yields the report of each part, in order.

    `out` gets files of at most `PART` photos: `paths` (text [n]), `boxes` (text [n]), `hashes` (uint8 [n, bytes], the
    most significant bit first) and `embeddings` (float32 [n, d], of unit length). A photo that cannot be decoded is in
    none of them.

    Args:
        bundle: folder of the bundle.
        folder: of the data set.
        rows: as `training.readers.read` gives them.
        out: folder of the parts. It is made where it is missing.
        workers: processes.
        engine: what runs them. With Ray on several machines, all must see `bundle`, `folder` and `out`.

    Raises:
        ConfigError: `out` has parts of another bundle or of other photos.
    """
    out.mkdir(parents=True, exist_ok=True)
    _check_same(bundle, folder, rows, out)
    parts = (EmbedPart(number, some) for number, some in enumerate(chunks(rows, PART)))
    work = partial(embed_part, bundle=bundle.absolute(), folder=folder.absolute(), out=out.absolute())
    yield from bulk_map(work, parts, workers=workers, engine=engine)


def embed_rows(
    bundle: Path, folder: Path, rows: Iterable[Row], *, workers: int = 2, engine: Engine = "pool"
) -> Iterator[Seen]:
    """Every row in order, as `training.weak.embeddings.embed` gives it, computed by workers. Writes nothing."""
    work = partial(_seen, bundle=bundle.absolute(), folder=folder.absolute())
    for some in bulk_map(work, chunks(rows, _AT_ONCE), workers=workers, engine=engine):
        yield from some


def _seen(rows: list[Row], *, bundle: Path, folder: Path) -> list[Seen]:
    return list(embed(_engine(bundle), folder, rows))


def embed_part(part: EmbedPart, *, bundle: Path, folder: Path, out: Path) -> PartReport:
    """Embed one part and write its file, unless it is there. It may run in any process."""
    file = out / _NAME.format(part.number)
    skipped = file.with_suffix(".skipped.txt")
    if file.exists():
        with np.load(file) as known:
            return PartReport(len(known["paths"]), _read_skipped(skipped))
    recogniser = _engine(bundle)
    paths, boxes, embeddings, hashes = [], [], [], []
    wrong: dict[str, str] = {}
    for seen in embed(recogniser, folder, part.rows):
        if seen.embedding is None:
            wrong[seen.row["path"]] = seen.error
            continue
        paths.append(seen.row["path"])
        boxes.append(seen.row.get("box", ""))
        embeddings.append(seen.embedding)
        hashes.append(seen.code)
    width = recogniser.manifest.embedding.dim
    arrays = {
        "paths": np.array(paths, dtype=np.str_),
        "boxes": np.array(boxes, dtype=np.str_),
        "hashes": np.array(hashes, dtype=np.uint8).reshape(len(paths), -1),
        "embeddings": np.array(embeddings, dtype=np.float32).reshape(len(paths), width),
    }
    if wrong:
        with replacing(skipped, shared=True) as target:
            target.write_text("".join(f"{path}\t{why}\n" for path, why in wrong.items()), encoding="utf-8")
    else:
        skipped.unlink(missing_ok=True)  # of a run that was stopped before it had written the part
    with replacing(file, shared=True) as target, target.open("wb") as opened:  # last: it says that the part is done
        np.savez(opened, allow_pickle=False, **arrays)
    return PartReport(len(paths), wrong)


@lru_cache(maxsize=1)
def _engine(bundle: Path) -> RecognitionEngine:
    """The engine of this process, with one thread: the workers are what runs side by side."""
    return build_engine(bundle, threads=1, max_batch=BATCH)


def _read_skipped(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    lines = file.read_text("utf-8").splitlines()
    return {path: why for path, _, why in (line.partition("\t") for line in lines)}


def _check_same(bundle: Path, folder: Path, rows: Sequence[Row], out: Path) -> None:
    """Note what the parts are of, or refuse parts of something else."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['path']}\0{row.get('box', '')}\n".encode())
    manifest = (bundle / "manifest.json").read_bytes()
    about = f"{hashlib.sha256(manifest).hexdigest()} {folder.name} {len(rows)} {digest.hexdigest()}\n"
    file = out / _ABOUT
    if not file.exists():
        file.write_text(about, encoding="utf-8")
    elif file.read_text("utf-8") != about:
        raise ConfigError(f"--out {out}: has parts of another bundle or of other photos; name another folder")
