"""Labelling by one process and by workers: the file of the labels has the same bytes, also after a stop or a death."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.detection import open_detector
from schemas.errors import BundleRefused
from tests.detectors import CELLS, SIDE, bright_detector, light
from training.boxes import finder as module
from training.boxes.finder import BATCH, BoxFinder, by_workers, find_part, in_this_process
from training.boxes.labels import Find, Label, label, read_labels
from training.bulk import Engine, bulk_map

pytestmark = pytest.mark.slow  # a detector bundle takes seconds to make
PATHS = [*(f"{number:03}.png" for number in range(70)), "gone.png"]


def write_photos(folder: Path) -> None:
    """Seventy photos with one to three bright cells each, one of them broken."""
    folder.mkdir(parents=True)
    for number in range(70):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        for step in range(1 + number % 3):
            light(pixels, (number + 5 * step) % CELLS**2, 255 - (number + 40 * step) % 120)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    (folder / "041.png").write_bytes(b"\x89PNG nothing")


def labelled_here(bundle: Path, photos: Path, file: Path) -> dict[str, Label]:
    """The labels by one process with all cores, as `file` then has them."""
    detector = open_detector(bundle)
    try:
        return label(in_this_process(detector).find, photos, PATHS, file)
    finally:
        detector.close()


def dies_once(paths: Sequence[str], *, mark: Path, work: Callable[[Sequence[str]], list[Label]]) -> list[Label]:
    """As `work`, but the first process that gets the photo 030.png dies."""
    if "030.png" in paths:
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return work(paths)
        os.kill(os.getpid(), signal.SIGKILL)
    return work(paths)


def by_dying_workers(bundle: Path, mark: Path, engine: Engine) -> Find:
    """As `by_workers`, with two workers of which one dies in the second part."""

    def find(root: Path, paths: Sequence[str]) -> Iterator[list[Label]]:
        parts = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
        work = partial(dies_once, mark=mark, work=partial(find_part, folder=bundle, root=root))
        return bulk_map(work, parts, workers=2, engine=engine)

    return find


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector") / "bundle"
    bright_detector(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "all"
    write_photos(folder)
    return folder


def test_any_number_of_workers_writes_the_file_of_one_process(bundle, photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "PART", BATCH)
    whole = labelled_here(bundle, photos, tmp_path / "here")
    assert [len(whole[path].guesses) for path in PATHS[:3]] == [1, 2, 3]
    assert ("decoded" in whole["041.png"].error, "read" in whole["gone.png"].error) == (True, True)
    for workers in (1, 2):
        finder: BoxFinder = by_workers(bundle, workers, "pool")
        assert finder.detector_id == open_detector(bundle).detector_id
        told: list[tuple[int, int]] = []
        file = tmp_path / str(workers)
        assert label(finder.find, photos, PATHS, file, lambda *done, to=told: to.append(done)) == whole
        assert file.read_bytes() == (tmp_path / "here").read_bytes()
        assert told == [(done, len(PATHS)) for done in (16, 32, 48, 64, 71)]


def test_a_run_that_was_stopped_goes_on_with_other_workers(bundle, photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "PART", BATCH)
    labelled_here(bundle, photos, tmp_path / "here")
    file = tmp_path / "file"

    def stop(done: int, total: int) -> None:
        if done == 2 * BATCH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(by_workers(bundle, 2, "pool").find, photos, PATHS, file, stop)
    assert list(read_labels(file)) == PATHS[: 2 * BATCH]
    label(by_workers(bundle, 1, "pool").find, photos, PATHS, file)
    assert file.read_bytes() == (tmp_path / "here").read_bytes()
    finished = file.stat().st_mtime_ns
    nobody = by_workers(bundle, 1, "pool").find
    assert list(label(nobody, photos, PATHS, file)) == PATHS
    assert file.stat().st_mtime_ns == finished


def test_a_worker_that_is_killed_changes_no_label(bundle: Path, photos: Path, tmp_path: Path) -> None:
    labelled_here(bundle, photos, tmp_path / "here")
    label(by_dying_workers(bundle, tmp_path / "mark", "pool"), photos, PATHS, tmp_path / "file")
    assert (tmp_path / "mark").exists()
    assert (tmp_path / "file").read_bytes() == (tmp_path / "here").read_bytes()


def test_a_folder_without_a_detector_is_refused_before_any_worker_starts(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused):
        by_workers(tmp_path, 2, "pool")
