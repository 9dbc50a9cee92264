"""The trainer, to be read from top to bottom: data, network, one loop, checkpoints to resume from.

`torchrun --nproc-per-node N -m groknet train …` runs it in N processes. Each draws a batch with the recipe's shares,
and a step is that of one process with all N batches (`distributed.py`).
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, TextColumn
from torch import Tensor, nn

from schemas.errors import ConfigError
from training.data.augment import augment
from training.data.corpus import Corpus, batches, load_corpus
from training.data.erasing import erase_salient
from training.loop.batch import Batch, make_batch
from training.loop.curves import write_curves
from training.loop.distributed import Ranks, agree, first_first, ranks
from training.loop.objective import total_loss
from training.loop.optimiser import set_rate
from training.loop.state import CHECKPOINT, Peer, State, new_state
from training.loop.tensorboard import Curves
from training.loop.tutor import load_tutor
from training.loop.validation import Judge, validate
from training.loop.warm_start import fit_kept_heads
from training.network.model import Network, detached
from training.network.trunk import TimmTrunk
from training.recipe import Recipe, Relational
from training.run_folder import only_run

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 240.0
ALONE = Ranks()


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    cache: Path | None = None,
    tutor: Path | None = None,
) -> Path:
    """Do a training run and return the path of its checkpoint, `out/checkpoint.pt`.

    It is deterministic from the recipe's seed on one machine, except where `schedule.minutes` ends the run.

    Args:
        recipe: what to train.
        data: has the folders that the recipe names.
        out: folder of the run.
        resume: continue from the checkpoint in `out`, if there is one.
        cache: keeps decoded photos; `out/cache` by default.
        tutor: folder of a finished run of `recipe.as_tutor()`, to learn from.

    Raises:
        ConfigError: the data do not fit the recipe, the recipe asks for something that its trunk does not have, or
            another training has the folder `out`.
    """
    torch.set_num_threads(recipe.threads)
    with only_run(out), ranks(recipe.device) as group:
        corpus = first_first(lambda: load_corpus(recipe, data, cache or out / "cache", group.device))
        state = new_state(recipe, corpus, group.device)
        if tutor is not None:
            state.tutor = load_tutor(tutor / CHECKPOINT, recipe.as_tutor(), corpus.sizes, group.device)
            state.taught_by = recipe.distillation.trunk
        if recipe.distillation.mutual:
            if tutor is not None:
                raise ConfigError("--tutor: distillation.mutual trains a tutor in the same run; leave one of them out")
            state.peer = first_first(lambda: new_peer(recipe, data, cache or out / "cache", group.device))
            state.taught_by = f"{recipe.distillation.trunk}, which learned along"
        _check_trunk(recipe, state, corpus)
        if group.size > 1:
            for one in (state, *([state.peer.state] if state.peer else [])):
                one.model = nn.parallel.DistributedDataParallel(one.model, broadcast_buffers=False)
        file = out / CHECKPOINT
        if resume and file.is_file():
            state.load(file)
            log.info("resumed at step %d", state.step)
        if recipe.has_steps:
            _run(recipe, state, corpus, out, group)
        if recipe.keeps_trunk and group.first:
            fit_kept_heads(state.best, corpus)
            state.save(file)
    return file


def new_peer(recipe: Recipe, data: Path, cache: Path, device: torch.device) -> Peer:
    """The tutor of `recipe` before its first step, which learns along. Arguments as of `train`."""
    theirs = recipe.as_tutor()
    corpus = load_corpus(theirs, data, cache, device)
    peer = Peer(theirs, new_state(theirs, corpus, device), corpus)
    _check_trunk(theirs, peer.state, corpus)
    return peer


def _run(recipe: Recipe, state: State, corpus: Corpus, out: Path, group: Ranks) -> None:
    """The loop, from the state's step to the end of the schedule. Only the first rank writes."""
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[note]}"))
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), disable=not group.first))
        curves = Curves(out, state.step) if group.first else None
        if curves:
            stack.callback(curves.close)
        task = bar.add_task(recipe.name, total=1.0, note="")
        saved = time.monotonic()
        judge = Judge(recipe, corpus, group, state)
        state.network.train()
        if state.peer is not None:
            state.peer.state.network.train()
        for numbers in batches(recipe, corpus, state.step, group.rank, group.size):
            done = agree(progress_of(recipe, state.step, state.seconds))
            if done >= 1.0:
                break
            begun = time.monotonic()
            if recipe.weighting.rule == "trend" and state.step % recipe.weighting.every == 0:
                state.weights.observe(validate(recipe, state, corpus, group)[0])
            values = train_step(recipe, state, corpus, numbers, done, group)
            state.seconds += time.monotonic() - begun
            state.step += 1
            if judge.is_due(progress_of(recipe, state.step, state.seconds)):
                score = judge(state)
                if curves and score is not None:
                    curves.add("validation", {"score": score}, state.step)
            if state.step % recipe.schedule.record_every == 0:
                said = {name: float(value) for name, value in values.items()}  # here the processor waits for a GPU
                note = f"step {state.step} loss {said['loss']:.2f}{judge.note}"
                bar.update(task, completed=done, note=note)
                state.history.append({"step": state.step, "seconds": state.seconds, **said})
                if curves:
                    log.info("%s %.0f s %s", note, state.seconds, {k: round(v, 2) for k, v in said.items()})
                    curves.add("train", said, state.step)
                    curves.add("weight", state.weights.factors(), state.step)
                    curves.add("rate", rates(state), state.step)
            if group.first and time.monotonic() - saved > CHECKPOINT_SECONDS:
                state.save(out / CHECKPOINT)
                write_curves(out, state.history, state.scores)
                saved = time.monotonic()
        if group.first:
            state.save(out / CHECKPOINT)
            write_curves(out, state.history, state.scores)


def progress_of(recipe: Recipe, step: int, seconds: float) -> float:
    """The share of the run that is done, from 0 to 1: of its steps or of its minutes, whichever is more. `step` steps
    and `seconds` s are done."""
    minutes = recipe.schedule.minutes
    return min(1.0, max(step / recipe.schedule.steps, seconds / 60 / minutes if minutes else 0.0))


def train_step(  # noqa: PLR0917 (a step needs all of them)
    recipe: Recipe,
    state: State,
    corpus: Corpus,
    numbers: NDArray[np.int64],
    done: float,
    group: Ranks = ALONE,
) -> dict[str, Tensor]:
    """One optimiser step on the photos `numbers [n]`; `done` is the share of the run that is over.

    Returns:
        The losses as float scalars, each times the recipe's weight; `loss`, their sum with the weighting's factors;
        and `p`, the exponent of GeM.
    """
    plan = recipe.schedule
    set_rate(state.optimiser, plan, state.step, done)
    size = plan.small_size if done < plan.small_share else recipe.size
    seed = recipe.seed * 1_000_003 + state.step * group.size + group.rank
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # of dropout: a resumed run draws the same
    if recipe.keeps_trunk:
        views = corpus.placed(corpus.frozen.feature, group.device)[torch.from_numpy(numbers).to(group.device)].float()
    else:
        views = _views(recipe, state.network, corpus.photos(numbers, group.device), size, generator)
    out = state.model(views)
    with torch.no_grad():
        tutor = state.tutor(views) if state.tutor is not None else None
    if state.peer is not None:
        peer = state.peer
        set_rate(peer.state.optimiser, plan, state.step, done)
        seen = peer.state.model(views)
        tutor = detached(seen)
        _learn(peer.recipe, peer.state, make_batch(peer.corpus, numbers, seen, detached(out)), group)
        peer.state.step += 1
    values = _learn(recipe, state, make_batch(corpus, numbers, out, tutor), group)
    return values | {"p": state.network.pool.p.detach()}


def _learn(recipe: Recipe, state: State, batch: Batch, group: Ranks) -> dict[str, Tensor]:
    """One optimiser step of a network on a batch that it has answered. Returns its losses, and `loss`, their sum."""
    parts = total_loss(recipe, state, batch)
    factors = state.weights.factors()
    loss = torch.stack([part * factors.get(name, 1.0) for name, part in parts.items()]).sum()
    if group.size > 1:  # gradients are exchanged for every parameter, also for those that no loss uses
        loss = loss + (batch.out.embedding.sum() + batch.out.bits.sum()) * 0.0
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 10.0)
    state.optimiser.step()
    state.follow(recipe.schedule.average)
    return {name: part.detach() for name, part in {"loss": loss, **parts}.items()}


def _views(recipe: Recipe, network: Network, photos: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """The views of `photos uint8 [n, h, w, 3]`, one kind after the other: `float32 [views · n, 3, size, size]`."""
    made = []
    for kind in (recipe.augment.weak, recipe.augment.strong)[: recipe.schedule.views]:
        view = augment(photos, kind, size, generator)
        if kind.erase and kind.erased == "salient":
            with torch.no_grad():
                maps = network.maps(view)
            view = erase_salient(view, maps, kind.erase, generator)
        made.append(view)
    return torch.cat(made).contiguous(memory_format=torch.channels_last)


def rates(state: State) -> dict[str, float]:
    """The learning rates of trunk and heads."""
    return dict(zip(("trunk", "heads"), (group["lr"] for group in state.optimiser.param_groups), strict=True))


def _check_trunk(recipe: Recipe, state: State, corpus: Corpus) -> None:
    """Raise ConfigError if a relational loss would compare features of different widths, or if the trunk cannot see
    small photos."""
    plan, trunk = recipe.schedule, state.network.trunk
    small = plan.small_share > 0 and plan.small_size != recipe.size and not recipe.keeps_trunk
    if small and isinstance(trunk, TimmTrunk) and trunk.size:
        raise ConfigError(f"schedule.small_share: trunk {recipe.trunk!r} takes photos of one size only; set it to 0")
    ours, theirs = state.network.trunk.features, corpus.frozen.feature.shape[1]
    for spec in recipe.all_losses:
        if isinstance(spec, Relational) and ours != theirs:
            where = "metric.relational" if spec not in recipe.losses else f"losses[{spec.id}].kind"
            raise ConfigError(
                f"{where}: trunk {recipe.trunk!r} has {ours} features, the frozen trunk {theirs}; leave this loss out"
            )
