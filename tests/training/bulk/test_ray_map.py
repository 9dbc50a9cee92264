"""Ray Data against a plain loop and against the process pool. Without Ray, all but one of these tests are skipped.

Ray takes 480 MB, so `make test` does not install it. To run them: pip install -e '.[bulk]'.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from engines.recognition import build_engine
from schemas.errors import ConfigError
from tests.detectors import bright_detector
from tests.engines.tiny_bundle import write_tiny_bundle
from tests.training.boxes.test_finder import PATHS, by_dying_workers, labelled_here, write_photos
from tests.training.bulk.test_process_map import EXPECTED, PARTS, always_dies, fails, kills_itself_once, squares
from tests.training.cleaning.pictures import jpeg, picture
from tests.workers.backfill.test_backfill import Town
from tests.workers.backfill.test_in_workers import by_dying_workers as tag_by_dying_workers
from tests.workers.backfill.test_in_workers import by_workers as tag_by_workers
from tests.workers.backfill.test_in_workers import counts, fill_up, result_of, run, same_events
from training.boxes.finder import by_workers as boxes_by_workers
from training.boxes.labels import label
from training.bulk import Engine, bulk_map, ray_map
from training.cleaning import (
    Cleaning,
    DuplicateSettings,
    MergeSettings,
    NoiseSettings,
    by_workers,
    in_this_process,
    open_source,
    write_labels,
    write_marks,
)
from workers.backfill.tagging import Tag

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own, of its own settings
NO_RAY = "Ray is not installed: pip install -e '.[bulk]'"


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    package = pytest.importorskip("ray", reason=NO_RAY)
    yield package
    package.shutdown()


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'groknet\[bulk\]'"):
        list(bulk_map(squares, PARTS, engine="ray"))


@pytest.mark.slow
def test_the_results_come_in_order_from_other_processes(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_map, "_ROUND", 5)  # of 12 parts
    assert [result for _, result in bulk_map(squares, iter(PARTS), engine="ray")] == EXPECTED
    assert list(bulk_map(squares, [], engine="ray")) == []


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_changes_no_result(ray: Any, tmp_path: Path) -> None:
    work = partial(kills_itself_once, mark=tmp_path / "mark")
    assert [result for _, result in bulk_map(work, PARTS, engine="ray")] == EXPECTED
    assert (tmp_path / "mark").exists()


@pytest.mark.slow
def test_a_part_that_kills_each_worker_is_named_after_what_came_before_it(ray: Any) -> None:
    found = []
    with pytest.raises(ConfigError, match=r"part 6 ended its worker 3 times.*\[30, 31, 32, 33, 34\]"):
        found.extend(bulk_map(always_dies, PARTS, engine="ray"))
    assert found == PARTS[:6]


def dies_and_counts(part: int, *, folder: Path) -> None:
    (folder / str(uuid.uuid4())).touch()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_part_has_as_many_tries_as_the_error_says(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"part 0 ended its worker 3 times"):
        list(bulk_map(partial(dies_and_counts, folder=tmp_path), [1], engine="ray"))
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.slow
def test_a_cluster_that_runs_on_this_machine_is_not_joined(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ray start --head` writes the address of its cluster into a file of Ray's folder, and Ray joins it by default."""
    ray.shutdown()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with TemporaryDirectory(prefix="r") as folder:  # short, because Ray's sockets are in it
        monkeypatch.setenv("RAY_TMPDIR", folder)
        state = Path(folder) / "ray" / "ray_current_cluster"
        state.parent.mkdir()
        state.write_text("127.0.0.1:1")  # nobody is there
        assert [result for _, result in bulk_map(squares, PARTS, engine="ray")] == EXPECTED
        ray.shutdown()


@pytest.mark.slow
def test_what_the_function_raises_ends_the_map(ray: Any) -> None:
    with pytest.raises(ValueError, match="no 0"):
        list(bulk_map(fails, PARTS, engine="ray"))


@pytest.mark.slow
def test_a_cleaning_on_ray_writes_the_files_of_the_pool(ray: Any, tmp_path: Path) -> None:
    """Three products; one photo is there twice, one is a smaller copy, one lies under a wrong label, one is broken."""
    photos, bundle = tmp_path / "photos", tmp_path / "bundle"
    for product in range(3):
        (photos / str(product)).mkdir(parents=True)
        for view in range(6):
            (photos / str(product) / f"{view}.jpg").write_bytes(jpeg(picture(100 * product + view)))
    (photos / "0" / "same.jpg").write_bytes((photos / "1" / "0.jpg").read_bytes())
    (photos / "0" / "small.jpg").write_bytes(jpeg(picture(3).resize((48, 40))))
    (photos / "2" / "broken.jpg").write_bytes(b"broken")
    write_tiny_bundle(bundle)
    files: dict[str, dict[str, bytes]] = {}
    engines: tuple[Engine, ...] = ("pool", "ray")
    for engine in engines:
        out = tmp_path / engine
        cleaning = Cleaning(open_source(photos), out, "product", workers=2, engine=engine)
        assert cleaning.duplicates(cleaning.read(), DuplicateSettings()) == 2
        recogniser = build_engine(bundle)
        embedder = in_this_process(recogniser) if engine == "pool" else by_workers(bundle, 2, engine)
        cleaning.noise(embedder, NoiseSettings())
        cleaning.merge(embedder, MergeSettings())
        recogniser.close()
        write_labels(cleaning.source, cleaning.marks, out, "product")
        write_marks(cleaning.marks, out / "marks.csv")
        files[engine] = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}
    assert {"fingerprints.bin", "vectors.bin", "marks.jsonl", "labels.csv", "marks.csv"} <= set(files["pool"])
    assert files["ray"] == files["pool"]


@pytest.mark.slow
def test_boxes_found_on_ray_are_those_of_one_process_also_when_a_worker_is_killed(ray: Any, tmp_path: Path) -> None:
    bundle, photos = tmp_path / "bundle", tmp_path / "photos"
    bright_detector(bundle)
    write_photos(photos)
    labelled_here(bundle, photos, tmp_path / "here")
    label(boxes_by_workers(bundle, 2, "ray").find, photos, PATHS, tmp_path / "ray")
    label(by_dying_workers(bundle, tmp_path / "mark", "ray"), photos, PATHS, tmp_path / "killed")
    assert (tmp_path / "mark").exists()
    assert (tmp_path / "here").read_bytes() == (tmp_path / "ray").read_bytes() == (tmp_path / "killed").read_bytes()


@pytest.mark.slow
def test_a_back_fill_on_ray_is_that_of_one_process_also_when_a_worker_is_killed(ray: Any, tmp_path: Path) -> None:
    results = {}
    for name in ("here", "ray", "killed"):
        (tmp_path / name).mkdir()
        town = Town(tmp_path / name)
        fill_up(town)
        tags: dict[str, Callable[[], Tag | None]] = {
            "here": lambda: None,
            "ray": partial(tag_by_workers, town, "ray"),
            "killed": partial(tag_by_dying_workers, town, "ray"),
        }
        assert counts(run(town, tags[name]())) == {"total": 11, "done": 9, "removed": 0, "lost": 1, "failed": 1}
        assert (town.home / "mark").exists() == (name == "killed")
        results[name] = same_events(result_of(town))
        town.close()
    assert results["here"] == results["ray"] == results["killed"]


@pytest.mark.slow
def test_ray_leaves_the_callers_way_to_stop(ray: Any) -> None:
    """A back-fill stops in order on SIGTERM; Ray would end the process."""
    ray.shutdown()
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, handler := lambda *_: None)
    try:
        assert [result for _, result in bulk_map(squares, PARTS, engine="ray", ahead=2)] == EXPECTED
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
