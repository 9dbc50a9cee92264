"""Trains the next detector of a project, and makes its bundle."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.files import write_file
from schemas.errors import ConfigError
from training.boxes.lessons import HAND, KEPT, batch_shares, lessons
from training.boxes.project import Project
from training.boxes.rounds import Standing
from training.detection.bundle.export import export_detector
from training.detection.data.boxed_set import BoxedSet, boxed_set
from training.detection.loop.state import CHECKPOINT
from training.detection.loop.train import train_on
from training.detection.recipe import BoxSet, DetectorRecipe
from training.detection.records import PRODUCT

_RECIPE = "recipe.json"


def learn(
    project: Project, now: Standing, recipe: DetectorRecipe, *, fresh: bool = False, start: Path | None = None
) -> Path:
    """Train on the boxes that are known, and return the folder of the new detector, PROJECT/detectors/NUMBER.

    The run is in PROJECT/runs/NUMBER. One that was stopped goes on. A run begins with the weights of the last one if
    both know the same kinds, otherwise with those of the recipe.

    Args:
        project: whose boxes are learned.
        now: where the project stands.
        recipe: network and schedule; its data sets are replaced by those of the project.
        fresh: do not begin with the weights of the last run.
        start: a checkpoint to begin with instead; it must be of this network, and know the same kinds.

    Raises:
        ConfigError: nobody has drawn a box, or the recipe does not fit.
        BundleRefused: the bundle does not compute what torch does.
    """
    number = len(project.detectors()) + 1
    run, bundle = (project.folder / kind / f"{number:02}" for kind in ("runs", "detectors"))
    sets = _sets(project, now, recipe, run)
    kinds = [kind for kind in project.classes() if kind != PRODUCT]
    specs = [BoxSet(name=one.name, share=one.share, about="Boxes of this labelling project.") for one in sets]
    recipe = msgspec.structs.replace(recipe, datasets=specs, kinds=kinds)
    before = run.with_name(f"{number - 1:02}")
    if start is None and not fresh and _can_follow(before, recipe):
        start = before / CHECKPOINT
    write_file(run / _RECIPE, msgspec.json.encode(recipe))
    train_on(recipe, sets, run, resume=True, start=start)
    export_detector(recipe, run, bundle, command="groknet boxes train PROJECT")
    return bundle


def _sets(project: Project, now: Standing, recipe: DetectorRecipe, run: Path) -> list[BoxedSet]:
    learned = lessons(project, now)
    if not any(photo.boxes for photo in learned.hand):
        raise ConfigError("boxes: no photo with boxes is left to train on; draw some with `groknet boxes review`")
    shares = batch_shares(len(learned.hand), len(learned.kept), recipe.batch)
    sorts = ((HAND, learned.hand), (KEPT, learned.kept))
    return [
        boxed_set(name, photos, recipe.side, run / "cache", share=shares[name])
        for name, photos in sorts
        if shares[name]
    ]


def _can_follow(run: Path, recipe: DetectorRecipe) -> bool:
    """Whether a run's network has the shape of the recipe's."""
    file = run / _RECIPE
    if not (file.is_file() and (run / CHECKPOINT).is_file()):
        return False
    earlier = msgspec.json.decode(file.read_bytes(), type=DetectorRecipe)
    same = (earlier.kinds, earlier.side, earlier.network) == (recipe.kinds, recipe.side, recipe.network)
    return same and bool(earlier.schedule.average) == bool(recipe.schedule.average)


def with_steps(recipe: DetectorRecipe, steps: int) -> DetectorRecipe:
    """The recipe with another number of steps and no bound on its time; its warm-up is at most a tenth of the steps."""
    warmup = min(recipe.schedule.warmup, steps // 10)
    plan = msgspec.structs.replace(recipe.schedule, steps=steps, minutes=0.0, warmup=warmup)
    return msgspec.structs.replace(recipe, schedule=plan)
