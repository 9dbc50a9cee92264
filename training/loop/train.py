"""The trainer, readable top to bottom: data, network, one loop, checkpoints that resume.

`torchrun --nproc-per-node N -m groknet train …` runs it in N processes: each draws a batch of the recipe's shares, and
the step is that of one process with all of them (`distributed`).
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress, TextColumn
from torch import Tensor, nn

from schemas.errors import ConfigError
from training.data.augment import augment
from training.data.corpus import Corpus, batches, load_corpus
from training.data.frozen_trunk import resized
from training.loop.distributed import Ranks, agree, first_first, ranks
from training.loop.objective import batch_of, head_terms, total_loss
from training.loop.optimiser import set_rate
from training.loop.state import CHECKPOINT, State, new_state
from training.loop.tensorboard import Record
from training.loop.tutor import load_tutor
from training.recipe import Recipe

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
    """Train and return the checkpoint's path (`out/checkpoint.pt`).

    `data` holds the folders that the recipe names; `cache` (default `out/cache`) keeps decoded photos; `tutor` is the
    run of `recipe.as_tutor()`, finished, to learn from.
    Deterministic from the recipe's seed on one machine, except where `schedule.minutes` cuts the run short.

    Raises:
        ConfigError: the data do not fit the recipe, or the recipe asks for what its trunk cannot give.
    """
    torch.set_num_threads(recipe.threads)
    out.mkdir(parents=True, exist_ok=True)
    with ranks(recipe.device) as group:
        corpus = first_first(lambda: load_corpus(recipe, data, cache or out / "cache", group.device))
        state = new_state(recipe, corpus, group.device)
        if tutor is not None:
            state.tutor = load_tutor(tutor / CHECKPOINT, recipe.as_tutor(), corpus.sizes, group.device)
            state.taught_by = recipe.distillation.trunk
        _check_teacher(recipe, state, corpus)
        if group.size > 1:
            state.model = nn.parallel.DistributedDataParallel(state.model, broadcast_buffers=False)
        file = out / CHECKPOINT
        if resume and file.is_file():
            state.load(file)
            log.info("resumed at step %d", state.step)
        _run(recipe, state, corpus, out, group)
    return file


def _run(recipe: Recipe, state: State, corpus: Corpus, out: Path, group: Ranks) -> None:
    """The loop, from the state's step to the end of the schedule; the first rank writes."""
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[note]}"))
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, disable=not group.first))
        record = Record(out, state.step) if group.first else None
        if record:
            stack.callback(record.close)
        task = bar.add_task(recipe.name, total=1.0, note="")
        saved = time.monotonic()
        state.network.train()
        for numbers in batches(recipe, corpus, state.step, group.rank, group.size):
            done = agree(progress_of(recipe, state.step, state.seconds))
            if done >= 1.0:
                break
            begun = time.monotonic()
            if recipe.weighting.rule == "trend" and state.step % recipe.weighting.every == 0:
                state.weights.observe(validate(recipe, state, corpus, group))
            values = train_step(recipe, state, corpus, numbers, done, group)
            state.seconds += time.monotonic() - begun
            state.step += 1
            if state.step % recipe.schedule.record_every == 0:
                said = {name: float(value) for name, value in values.items()}  # asking a GPU makes it wait
                note = f"step {state.step} loss {said['loss']:.2f}"
                bar.update(task, completed=done, note=note)
                state.history.append({"step": state.step, "seconds": state.seconds, **said})
                if record:
                    log.info("%s %.0f s %s", note, state.seconds, {k: round(v, 2) for k, v in said.items()})
                    record.add("train", said, state.step)
                    record.add("weight", state.weights.factors(), state.step)
                    record.add("rate", rates(state), state.step)
            if group.first and time.monotonic() - saved > CHECKPOINT_SECONDS:
                state.save(out / CHECKPOINT)
                saved = time.monotonic()
        if group.first:
            state.save(out / CHECKPOINT)


def progress_of(recipe: Recipe, step: int, seconds: float) -> float:
    """Share of the run that is done: of its steps or, where the recipe bounds them, of its minutes."""
    minutes = recipe.schedule.minutes
    return min(1.0, max(step / recipe.schedule.steps, seconds / 60 / minutes if minutes else 0.0))


def train_step(  # noqa: PLR0917 (what a step is made of)
    recipe: Recipe,
    state: State,
    corpus: Corpus,
    numbers: NDArray[np.int64],
    done: float,
    group: Ranks = ALONE,
) -> dict[str, Tensor]:
    """One optimiser step on one batch; returns the losses as scalars, each times the recipe's weight."""
    plan = recipe.schedule
    set_rate(state.optimiser, plan, state.step, done)
    size = plan.small_size if done < plan.small_share else recipe.size
    seed = recipe.seed * 1_000_003 + state.step * group.size + group.rank
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout: the same after a resumption
    photos = corpus.photos(numbers, group.device)
    kinds = (recipe.augment.weak, recipe.augment.strong)[: plan.views]
    views = torch.cat([augment(photos, view, size, generator) for view in kinds])
    views = views.contiguous(memory_format=torch.channels_last)
    result = state.model(views)
    with torch.no_grad():
        said = state.tutor(views) if state.tutor is not None else None
    parts = total_loss(recipe, state, corpus, batch_of(corpus, numbers, result, said))
    factors = state.weights.factors()
    loss = torch.stack([part * factors.get(name, 1.0) for name, part in parts.items()]).sum()
    if group.size > 1:  # every parameter takes part in the exchange of gradients, used by a loss or not
        loss = loss + (result.embedding.sum() + result.bits.sum()) * 0.0
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 10.0)
    state.optimiser.step()
    state.follow(plan.average)
    return {name: part.detach() for name, part in {"loss": loss, **parts, "p": state.network.pool.p}.items()}


@torch.no_grad()
def validate(recipe: Recipe, state: State, corpus: Corpus, group: Ranks = ALONE) -> dict[str, float]:
    """Mean loss of every head on validation photos, whole and unaugmented; heads without any are left out."""
    pool = np.concatenate([first + s.index("val", False) for first, s in zip(corpus.starts, corpus.sets, strict=True)])
    chosen = pool[:: max(1, len(pool) // recipe.weighting.photos)]
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    state.network.eval()
    for start in range(0, len(chosen), 64):
        numbers = chosen[start : start + 64]
        out = state.network(resized(corpus.pixels(numbers).numpy(), recipe.size, group.device))
        for name, term in head_terms(recipe, corpus, batch_of(corpus, numbers, out)).items():
            counted = int(term.counted) if term.counted is not None else 0
            totals[name] = totals.get(name, 0.0) + float(term.value) * counted
            counts[name] = counts.get(name, 0) + counted
    state.network.train()
    return {name: total / counts[name] for name, total in totals.items() if counts[name]}


def rates(state: State) -> dict[str, float]:
    """The learning rate of trunk and heads."""
    return dict(zip(("trunk", "heads"), (group["lr"] for group in state.optimiser.param_groups), strict=True))


def _check_teacher(recipe: Recipe, state: State, corpus: Corpus) -> None:
    ours, theirs = state.network.trunk.features, corpus.teacher.feature.shape[1]
    if recipe.metric.relational and ours != theirs:
        raise ConfigError(
            f"metric.relational: trunk {recipe.trunk!r} has {ours} features, the teacher {theirs}; set it to 0"
        )
