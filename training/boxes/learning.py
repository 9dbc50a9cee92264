"""Trains the next detector of a project, and makes its bundle."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import torch

from engines.files import write_file
from schemas.errors import ConfigError
from training.boxes.lessons import HAND, KEPT, Lessons, batch_shares, lessons
from training.boxes.project import DETECTORS, Project, numbered
from training.boxes.rounds import Standing
from training.boxes.validation import enough_set_aside
from training.detection.bundle.export import export_detector
from training.detection.data.boxed_set import BoxedSet, boxed_set
from training.detection.loop.state import CHECKPOINT
from training.detection.loop.train import progress_of, train_on
from training.detection.recipe import BoxSet, DetectorRecipe
from training.detection.records import PRODUCT

_RECIPE, _RUNS, _LOCK = "recipe.json", "runs", "training.lock"


def learn(
    project: Project,
    now: Standing,
    recipe: DetectorRecipe,
    *,
    fresh: bool = False,
    start: Path | None = None,
    first: Path | None = None,
    set_aside: frozenset[str] | None = None,
) -> Path:
    """Train on the boxes that are known, and return the folder of the new detector, PROJECT/detectors/NUMBER.

    The run is in PROJECT/runs/NUMBER. A run that was stopped goes on if its recipe is the same, with the boxes that are
    known now. Otherwise a new one begins, with the weights of the last finished one that has a network of the same
    shape and knows the same kinds, or else with those of `first`, or else with those of the recipe.

    Args:
        project: whose boxes are learned.
        now: where the project stands.
        recipe: network and schedule; its data sets are replaced by those of the project.
        fresh: begin a new run, and not with the weights of an earlier one.
        start: a checkpoint to begin with instead, which must be of this network and know the same kinds, or the
            folder of a detector bundle.
        first: the same, for a project that has no earlier run to follow.
        set_aside: photos to leave out; None takes those of the project, and chooses them if that was not done yet.

    Raises:
        ConfigError: nobody has drawn a box, the photos to set aside are too few, the recipe does not fit, or another
            process trains on this project.
        BundleRefused: the bundle does not compute what torch does.
    """
    with _alone(project):
        return _learn(project, now, recipe, fresh=fresh, start=start, first=first, set_aside=set_aside)


def _learn(
    project: Project,
    now: Standing,
    recipe: DetectorRecipe,
    *,
    fresh: bool,
    start: Path | None,
    first: Path | None,
    set_aside: frozenset[str] | None,
) -> Path:
    if set_aside is None:
        set_aside = enough_set_aside(project, now.photos)
    learned = lessons(project, now, set_aside)
    if not any(photo.boxes for photo in learned.hand):
        raise ConfigError("boxes: no photo with boxes is left to train on; draw some with `groknet boxes review`")
    shares = batch_shares(len(learned.hand), len(learned.kept), recipe.batch)
    about = "Boxes of this labelling project."
    specs = [BoxSet(name=name, share=share, about=about) for name, share in shares.items() if share]
    kinds = [kind for kind in project.classes() if kind != PRODUCT]
    recipe = msgspec.structs.replace(recipe, datasets=specs, kinds=kinds)
    number = _number(project, recipe, fresh=fresh)
    run, bundle = (project.folder / kind / f"{number:02}" for kind in (_RUNS, DETECTORS))
    if start is None and not fresh:
        start = _to_follow(project, number, recipe) or first
    run.mkdir(parents=True, exist_ok=True)
    write_file(run / _RECIPE, msgspec.json.encode(recipe))
    train_on(recipe, _sets(recipe, learned, run), run, resume=True, start=start)
    export_detector(recipe, run, bundle, command="groknet boxes train PROJECT")
    return bundle


@contextmanager
def _alone(project: Project) -> Iterator[None]:
    """Hold the lock of the project's trainings, which ends with the process. Two of them would write one run."""
    with (project.folder / _LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            pid = file.read().strip()
            who, what = (f"process {pid}", f"`kill {pid}`") if pid else ("another process", "Ctrl-C")
            text = f"project: {who} trains on {project.folder} already"
            raise ConfigError(f"{text}; wait until it ends, or stop it with {what}: its run goes on later") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _sets(recipe: DetectorRecipe, learned: Lessons, run: Path) -> list[BoxedSet]:
    photos = {HAND: learned.hand, KEPT: learned.kept}
    return [
        boxed_set(spec.name, photos[spec.name], recipe.side, run / "cache", share=spec.share)
        for spec in recipe.datasets
    ]


def _number(project: Project, recipe: DetectorRecipe, *, fresh: bool) -> int:
    """The number of the run that is stopped and can go on, or else one more than every number that was used."""
    runs = numbered(project.folder / _RUNS)
    last = max([0, *runs, *numbered(project.folder / DETECTORS)])
    if fresh or last not in runs or (project.folder / DETECTORS / f"{last:02}").is_dir():
        return last + 1
    stopped = _recipe_of(runs[last])
    if stopped is None or _without_data(stopped) != _without_data(recipe) or _finished(runs[last], stopped):
        return last + 1
    return last


def _to_follow(project: Project, number: int, recipe: DetectorRecipe) -> Path | None:
    """The checkpoint of the last finished run before `number` whose network has the shape of the recipe's."""
    for earlier, run in sorted(numbered(project.folder / _RUNS).items(), reverse=True):
        its = _recipe_of(run) if earlier < number else None
        if its is not None and _can_follow(its, recipe) and _finished(run, its):
            return run / CHECKPOINT
    return None


def _recipe_of(run: Path) -> DetectorRecipe | None:
    """The recipe of a run; None if there is none, or if it is of another version."""
    try:
        return msgspec.json.decode((run / _RECIPE).read_bytes(), type=DetectorRecipe)
    except (OSError, msgspec.MsgspecError):
        return None


def _without_data(recipe: DetectorRecipe) -> DetectorRecipe:
    """The shares of a batch follow from the boxes, which grow between a stop and the next call."""
    return msgspec.structs.replace(recipe, datasets=[])


def _finished(run: Path, recipe: DetectorRecipe) -> bool:
    if not (run / CHECKPOINT).is_file():
        return False
    saved = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)
    return progress_of(recipe, saved["step"], saved["seconds"]) >= 1.0


def _can_follow(earlier: DetectorRecipe, recipe: DetectorRecipe) -> bool:
    """Whether an earlier run's network has the shape of the recipe's."""
    same = (earlier.kinds, earlier.side, earlier.network) == (recipe.kinds, recipe.side, recipe.network)
    return same and bool(earlier.schedule.average) == bool(recipe.schedule.average)


def with_steps(recipe: DetectorRecipe, steps: int) -> DetectorRecipe:
    """The recipe with another number of steps and no bound on its time; its warm-up is at most a tenth of the steps."""
    warmup = min(recipe.schedule.warmup, steps // 10)
    plan = msgspec.structs.replace(recipe.schedule, steps=steps, minutes=0.0, warmup=warmup)
    return msgspec.structs.replace(recipe, schedule=plan)
