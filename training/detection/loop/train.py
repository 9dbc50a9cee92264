"""The trainer of detectors, to be read from top to bottom: boxes, network, one loop, checkpoints to resume from.

`torchrun --nproc-per-node N -m groknet detector train …` runs it in N processes. Each draws a batch with the recipe's
shares, and a step follows the mean of their gradients. On two busy cores, two processes of one thread are faster than
one process of two threads, because they wait for each other only once a step.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from rich.progress import Progress, TextColumn
from torch import Tensor, nn

from schemas.errors import ConfigError
from training.detection.data.augment_boxes import augmented
from training.detection.data.boxed_set import BoxedSet, Boxes, known_kinds, load_boxed_sets
from training.detection.loop.state import CHECKPOINT, DetectorState, modules_in_evaluation, new_detector_state
from training.detection.networks.interface import Target
from training.detection.recipe import DetectorRecipe
from training.loop.distributed import Ranks, agree, first_first, ranks
from training.run_folder import only_run

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 120.0
ALONE = Ranks()


def train_detector(
    recipe: DetectorRecipe,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    cache: Path | None = None,
    weights_in: Path = Path(),
    start: Path | None = None,
) -> Path:
    """Do a training run and return the path of its checkpoint, `out/checkpoint.pt`.

    It is deterministic from the recipe's seed on one machine, except where `schedule.minutes` ends the run.

    Args:
        recipe: what to train.
        data: has the folders that the recipe names.
        out: folder of the run.
        resume: continue from the checkpoint in `out`, if there is one.
        cache: keeps decoded photos; `out/cache` by default.
        weights_in: the folder that `network.weights` is relative to.
        start: the checkpoint of an earlier run with the same kinds, or the folder of a small detector's bundle, whose
            network this run begins with.

    Raises:
        BundleRefused: `start` is a folder without a detector bundle.
        ConfigError: the data do not fit the recipe, a package is not installed, or another training has the folder
            `out`.
    """
    with only_run(out), ranks(recipe.device) as group:
        sets = first_first(lambda: load_boxed_sets(recipe, data, cache or out / "cache"))
        return _train(recipe, sets, out, group, resume=resume, weights_in=weights_in, start=start)


def train_on(
    recipe: DetectorRecipe,
    sets: Sequence[BoxedSet],
    out: Path,
    *,
    resume: bool = False,
    weights_in: Path = Path(),
    start: Path | None = None,
) -> Path:
    """Train on sets that are loaded already, for instance those of a labelling loop.

    Arguments and errors are those of `train_detector`.
    """
    with only_run(out), ranks(recipe.device) as group:
        return _train(recipe, sets, out, group, resume=resume, weights_in=weights_in, start=start)


def _train(
    recipe: DetectorRecipe,
    sets: Sequence[BoxedSet],
    out: Path,
    group: Ranks,
    *,
    resume: bool,
    weights_in: Path,
    start: Path | None = None,
) -> Path:
    torch.set_num_threads(recipe.threads)
    pools = [one.index("train") for one in sets]
    for one, pool in zip(sets, pools, strict=True):
        if not len(pool):
            raise ConfigError(f"datasets[{one.name}]: no training photo; give it some, or leave the set out")
    counts = {one.name: len(pool) for one, pool in zip(sets, pools, strict=True)}
    state = new_detector_state(recipe, known_kinds(recipe, sets), counts, weights_in, group.device)
    state.processes = group.size
    file = out / CHECKPOINT
    if resume and file.is_file():
        state.load(file)
        log.info("resumed at step %d", state.step)
    elif start is not None:
        state.begin_with(start)
    _run(recipe, state, sets, file, group)
    return file


def _run(recipe: DetectorRecipe, state: DetectorState, sets: Sequence[BoxedSet], file: Path, group: Ranks) -> None:
    """The loop, from the state's step to the end of the schedule. Only the first rank writes."""
    pools = [one.index("train") for one in sets]
    saved = time.monotonic()
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, disable=not group.first) as bar:
        task = bar.add_task(recipe.name, total=1.0, note="")
        while (done := agree(progress_of(recipe, state.step, state.seconds))) < 1.0:
            begun = time.monotonic()
            values = train_step(recipe, state, sets, pools, done, group)
            state.seconds += time.monotonic() - begun
            state.step += 1
            if state.step % recipe.schedule.record_every == 0:
                said = {name: round(float(value), 4) for name, value in values.items()}
                note = f"step {state.step} loss {said['loss']:.3f}"
                bar.update(task, completed=done, note=note)
                state.history.append({"step": state.step, "seconds": state.seconds, **said})
                if group.first:
                    log.info("%s %.0f s %s", note, state.seconds, said)
            if group.first and time.monotonic() - saved > CHECKPOINT_SECONDS:
                state.save(file)
                saved = time.monotonic()
        bar.update(task, completed=1.0)
    if group.first:
        state.save(file)


def progress_of(recipe: DetectorRecipe, step: int, seconds: float) -> float:
    """The share of the run that is done, from 0 to 1: of its steps or of its minutes, whichever is more."""
    minutes = recipe.schedule.minutes
    return min(1.0, max(step / recipe.schedule.steps, seconds / 60 / minutes if minutes else 0.0))


def train_step(  # noqa: PLR0917 (a step needs all of them)
    recipe: DetectorRecipe,
    state: DetectorState,
    sets: Sequence[BoxedSet],
    pools: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]],
    done: float,
    group: Ranks = ALONE,
) -> dict[str, Tensor]:
    """One optimiser step; `done` is the share of the run that is over. Returns the losses, and `loss`, their sum.

    The photos of a step follow from the recipe's seed and the step's number alone, so a resumed run sees the same ones.
    """
    plan = recipe.schedule
    rng = np.random.default_rng([recipe.seed, state.step, group.rank])
    torch.manual_seed(int(rng.integers(2**31)))  # torchvision's models sample boxes
    factor = min(1.0, (state.step + 1) / max(plan.warmup, 1)) * 0.5 * (1 + math.cos(math.pi * done))
    for parameters in state.optimiser.param_groups:
        parameters["lr"] = parameters["rate"] * factor
    side = plan.small_side if done < plan.small_share else recipe.side
    drawn, known = _batch(recipe, state.kinds, sets, pools=pools, side=side, rng=rng)
    photos = drawn.to(group.device)
    targets = [Target(*(part.to(group.device) for part in one)) for one in known]
    state.network.train()
    if recipe.network.weights:
        modules_in_evaluation(state.network)
    terms = state.network.losses(photos, targets)
    loss = torch.stack(list(terms.values())).sum()
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if group.size > 1:
        _average_gradients(state, group)
    nn.utils.clip_grad_norm_([p for g in state.optimiser.param_groups for p in g["params"]], 5.0)
    state.optimiser.step()
    state.follow(plan.average)
    return {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}


def _average_gradients(state: DetectorState, group: Ranks) -> None:
    """Replace every gradient by its mean over the ranks, in one message. A parameter without a gradient counts as 0."""
    parameters = [p for one in state.optimiser.param_groups for p in one["params"]]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= group.size
    for parameter, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


def _batch(
    recipe: DetectorRecipe,
    kinds: Sequence[str],
    sets: Sequence[BoxedSet],
    *,
    pools: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]],
    side: int,
    rng: np.random.Generator,
) -> tuple[Tensor, list[Target]]:
    """Photos float32 [n, 3, side, side] of all sets in their shares, augmented, and what is known of them."""
    drawn: list[tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], Boxes]] = []
    for one, pool in zip(sets, pools, strict=True):
        for number in rng.choice(pool, one.share, replace=len(pool) < one.share):
            drawn.append((np.asarray(one.pixels[number]), one.lesson(number, kinds)))
    made = augmented(drawn, recipe.augment, side, rng)
    photos = torch.from_numpy(np.stack([pixels for pixels, _ in made])).permute(0, 3, 1, 2).float()
    return photos.contiguous(memory_format=torch.channels_last), [target_of(boxes) for _, boxes in made]


def target_of(boxes: Boxes) -> Target:
    """The boxes of one photo as tensors."""
    return Target(*(torch.from_numpy(part) for part in (boxes.edges, boxes.kinds, boxes.ignored)))
