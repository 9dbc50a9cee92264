"""A detector's run: the same from the same seed, resumed or not; what it refuses."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from schemas.errors import ConfigError
from tests.training.detection.tiny import tiny_recipe, write_squares
from training.detection.data.boxed_set import load_boxed_sets
from training.detection.loop import train as module
from training.detection.loop.state import CHECKPOINT, load_detector
from training.detection.loop.train import progress_of, train_detector, train_on
from training.detection.recipe import BoxSet, DetectorRecipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_squares(folder / "squares")
    return folder


def saved(folder: Path) -> dict:
    return torch.load(folder / CHECKPOINT, weights_only=True)


def same(one: Path, two: Path) -> bool:
    a, b = saved(one), saved(two)
    return all(torch.equal(a[part][name], b[part][name]) for part in ("network", "average") for name in a[part])


def test_a_resumed_run_ends_where_an_unbroken_one_does(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = data / "cache"
    train_detector(tiny_recipe(4), data, tmp_path / "whole", cache=cache)
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1.0)
    step = module.train_step

    def dies(*arguments: object) -> dict[str, torch.Tensor]:
        if arguments[1].step == 2:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train_step", dies)
    with pytest.raises(KeyboardInterrupt):
        train_detector(tiny_recipe(4), data, tmp_path / "broken", cache=cache)
    assert saved(tmp_path / "broken")["step"] == 2
    monkeypatch.setattr(module, "train_step", step)
    train_detector(tiny_recipe(4), data, tmp_path / "broken", cache=cache, resume=True)
    assert same(tmp_path / "whole", tmp_path / "broken")
    assert [record["step"] for record in saved(tmp_path / "broken")["history"]] == [1, 2, 3, 4]


def test_squares_are_learnt(data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(60, pretrained=True)
    plan = msgspec.structs.replace(recipe.schedule, head_rate=4e-3, small_share=0.0)
    recipe = msgspec.structs.replace(recipe, datasets=recipe.datasets[:1], schedule=plan)
    train_detector(recipe, data, tmp_path, cache=data / "cache")
    losses = [record["loss"] for record in saved(tmp_path)["history"]]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    network, rest = load_detector(tmp_path / CHECKPOINT, recipe)
    assert rest["kinds"] == ["product", "green", "red"]
    assert rest["photos"] == {"squares": 6}
    assert not network.training


def test_a_run_can_start_at_another_ones_network(data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(1)
    sets = load_boxed_sets(recipe, data, data / "cache")
    first = train_on(recipe, sets, tmp_path / "first")
    rested = msgspec.structs.replace(recipe.schedule, trunk_rate=1e-12, head_rate=1e-12, average=0.0)
    train_on(msgspec.structs.replace(recipe, schedule=rested), sets, tmp_path / "second", start=first)
    a, b = saved(tmp_path / "first")["network"], saved(tmp_path / "second")["network"]
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)
    assert saved(tmp_path / "second")["step"] == 1


def test_another_list_of_kinds_is_refused(data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(1)
    train_detector(recipe, data, tmp_path, cache=data / "cache")
    other = msgspec.structs.replace(recipe, kinds=["vase"])
    with pytest.raises(ConfigError, match="other kinds"):
        train_detector(other, data, tmp_path, cache=data / "cache", resume=True)


def test_a_set_without_training_photos_is_named(data: Path, tmp_path: Path) -> None:
    spec = BoxSet(name="squares", folder="squares", share=1, validation=0.0, test=0.999999)
    recipe = msgspec.structs.replace(tiny_recipe(1), datasets=[spec])
    with pytest.raises(ConfigError, match=r"datasets\[squares\]: no training photo"):
        train_detector(recipe, data, tmp_path)


@pytest.mark.parametrize(
    ("step", "seconds", "minutes", "done"), [(0, 0, 0, 0), (5, 0, 0, 0.5), (1, 30, 1, 0.5), (99, 0, 1, 1)]
)
def test_steps_or_minutes_end_a_run(step: int, seconds: float, minutes: float, done: float) -> None:
    recipe: DetectorRecipe = tiny_recipe(10)
    plan = msgspec.structs.replace(recipe.schedule, minutes=minutes)
    assert progress_of(msgspec.structs.replace(recipe, schedule=plan), step, seconds) == done


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="groknet detector train"):
        load_detector(tmp_path / CHECKPOINT, tiny_recipe())


@pytest.mark.parametrize("content", [b"", b"junk" * 50])
def test_a_file_that_is_no_checkpoint_is_named(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "junk.pt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"junk\.pt: no checkpoint"):
        train_detector(tiny_recipe(1), data, tmp_path / "run", cache=data / "cache", start=tmp_path / "junk.pt")
