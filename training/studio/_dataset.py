"""Folders of studio photos with their labels.csv. Several processes write them, and a repeated call continues."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines.files import replacing
from schemas.errors import Invalid
from training.studio._photo import Domain, render
from training.studio._product import make_product

Split = Literal["train", "val", "test"]
LABEL_COLUMNS = (
    "path", "domain", "split", "product", "category", "colour", "material", "pattern", "title",
)  # fmt: skip
_QUALITY = 90  # of the stored JPEG; natural photos were compressed more strongly before
_CHUNK = 16  # photos in a message to a process: about a second of work


@dataclass(frozen=True)
class _Job:
    """One photo to write, as plain data that can be sent to another process."""

    path: Path
    identity: int
    view: int
    domain: Domain
    size: tuple[int, int]
    seed: int


def write_dataset(
    folder: Path | str,
    identities: Iterable[int],
    views_per_product: int,
    size: tuple[int, int] = (256, 256),
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    split: Split = "train",
) -> int:
    """Write JPEGs and labels.csv (`LABEL_COLUMNS`) to `folder`, and return the number of photos drawn by this call.

    Each identity gets one iconic photo of split `gallery` and `views_per_product` natural photos of split `split`. A
    photo that exists is kept, whatever its size, and so are the rows of earlier calls. So an interrupted call can be
    repeated, and several splits can share a folder. Every photo appears whole or not at all.

    Args:
        folder: to write to.
        identities: of the products.
        views_per_product: natural photos of each product.
        size: width and height in pixels.
        seed: of products and photos.
        workers: processes; None means one for each core, and 1 this process.
        progress: show a progress bar.
        split: of the natural photos.

    Raises:
        Invalid: an unknown split or a negative number of views.
    """
    if split not in ("train", "val", "test"):
        raise Invalid("studio", "bad_split", f"split is {split!r}: use 'train', 'val' or 'test'")
    if views_per_product < 0:
        raise Invalid("studio", "bad_views", f"views_per_product is {views_per_product}: give 0 or more")
    root = Path(folder)
    jobs = [job for identity in identities for job in _jobs_of(identity, views_per_product, size, seed)]
    _merge_labels(root, jobs, split)
    missing = [job for job in jobs if not (root / job.path).exists()]
    for parent in {(root / job.path).parent for job in missing}:
        parent.mkdir(parents=True, exist_ok=True)
    count = workers or os.cpu_count() or 1
    bar = Progress(
        TextColumn("studio photos"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not progress,
    )
    with bar:
        task = bar.add_task("", total=len(jobs), completed=len(jobs) - len(missing))
        for _ in _drawn(root, missing, count):
            bar.advance(task)
    return len(missing)


def _jobs_of(identity: int, views: int, size: tuple[int, int], seed: int) -> list[_Job]:
    home = Path("images", f"{identity // 1000:03d}", str(identity))
    jobs = [_Job(home / "iconic.jpg", identity, 0, "iconic", size, seed)]
    jobs += [_Job(home / f"{view:02d}.jpg", identity, view, "natural", size, seed) for view in range(views)]
    return jobs


def _drawn(root: Path, jobs: list[_Job], workers: int) -> Iterator[None]:
    """Draw every job; yields once for each photo."""
    roots = [root] * len(jobs)
    if workers == 1 or len(jobs) <= _CHUNK:
        yield from map(_write, roots, jobs)
        return
    # spawn, as the caller may have threads (BLAS, a progress bar): a fork would copy their locks in any state
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write, roots, jobs, chunksize=_CHUNK)


def _write(root: Path, job: _Job) -> None:
    photo = render(make_product(job.identity, job.seed), job.view, job.domain, job.size, job.seed)
    target = root / job.path
    with replacing(target) as part:
        Image.fromarray(photo.pixels).save(part, "JPEG", quality=_QUALITY)


def _merge_labels(root: Path, jobs: list[_Job], split: Split) -> None:
    """Replace labels.csv by one with the rows of all jobs and of earlier calls, in order of path."""
    table = root / "labels.csv"
    rows: dict[str, dict[str, str]] = {}
    if table.exists():
        with table.open(newline="", encoding="utf-8") as lines:
            rows = {row["path"]: row for row in csv.DictReader(lines)}
    for job in jobs:
        product = make_product(job.identity, job.seed)
        path = job.path.as_posix()
        values = (
            path,
            job.domain,
            "gallery" if job.domain == "iconic" else split,
            f"studio-{job.identity}",
            product.category,
            product.colour,
            product.material,
            product.pattern,
            product.title,
        )
        rows[path] = dict(zip(LABEL_COLUMNS, values, strict=True))
    root.mkdir(parents=True, exist_ok=True)
    with replacing(table) as part, part.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, LABEL_COLUMNS)
        writer.writeheader()
        writer.writerows(rows[path] for path in sorted(rows))
