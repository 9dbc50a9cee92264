"""The trainer, readable top to bottom: data, network, one loop, checkpoints that resume."""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress, TextColumn
from torch import Tensor, nn

from training import losses
from training.augment import STRONG, WEAK, augment
from training.corpus import Corpus, batches, load_corpus
from training.memory import Memory
from training.model import EMBEDDING, Network, Outputs
from training.recipe import Recipe
from training.start import start_from_teacher

log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"
CHECKPOINT_SECONDS = 240.0


@dataclass
class State:
    """What a checkpoint holds."""

    network: Network
    centres: nn.ParameterDict
    optimiser: torch.optim.Optimizer
    memory: Memory
    average: Network | None = None  # running mean of the network's weights (Polyak & Juditsky 1992)
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write beside and rename, so that a kill leaves the old checkpoint."""
        part = path.with_suffix(".part")
        state = {"network": self.network.state_dict(), "centres": self.centres.state_dict()}
        state["memory"] = self.memory.state_dict()
        if self.average is not None:
            state["average"] = self.average.state_dict()
        numbers = {"step": self.step, "seconds": self.seconds, "history": self.history}
        torch.save({**state, "optimiser": self.optimiser.state_dict(), **numbers}, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Continue where `save` left off."""
        saved = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(saved["network"])
        self.centres.load_state_dict(saved["centres"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.memory.load_state_dict(saved["memory"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.step, self.seconds, self.history = saved["step"], saved["seconds"], saved["history"]

    @property
    def best(self) -> Network:
        """The network to export: the running mean where the recipe keeps one."""
        return self.network if self.average is None else self.average

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the running mean; it follows faster at first, while the weights still move far."""
        if self.average is not None:
            share = 1 - min(decay, (1 + self.step) / (10 + self.step))
            for mean, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(new, share)


def new_state(recipe: Recipe, corpus: Corpus) -> State:
    """A network that starts at what is known: packaged weights, the packaged classifier, the PCA embedding."""
    torch.manual_seed(recipe.seed)
    sizes = {t.spec.id: len(t.values) for t in corpus.heads}
    network = Network(recipe.trunk, sizes, recipe.pretrained, recipe.schedule.dropout)
    products = int(corpus.products.max()) + 1
    centres = nn.ParameterDict(
        {
            "embedding": nn.Parameter(torch.randn(max(products, 1), EMBEDDING)),
            "hash": nn.Parameter(torch.randn(max(products, 1), network.catalyzer.out_features)),
        }
    )
    if recipe.trunk == "efficientnet_lite0" and recipe.pretrained:
        start_from_teacher(network, centres, corpus)
    network.to(memory_format=torch.channels_last)
    fast = [p for n, p in network.named_parameters() if not n.startswith("trunk.")] + list(centres.values())
    rates = recipe.schedule
    groups = [
        {"params": list(network.trunk.parameters()), "rate": rates.trunk_rate},
        {"params": fast, "rate": rates.head_rate},
    ]
    optimiser = torch.optim.AdamW(groups, lr=rates.trunk_rate, weight_decay=rates.weight_decay)
    memory = Memory(recipe.metric.memory, network.catalyzer.out_features)
    average = copy.deepcopy(network).eval() if rates.average else None
    return State(network, centres, optimiser, memory, average)


def total_loss(
    recipe: Recipe, state: State, corpus: Corpus, numbers: NDArray[np.int64], out: Outputs
) -> dict[str, Tensor]:
    """Weighted losses by name; `out` holds the weak views of the batch, then the strong ones, in the same order."""
    n, metric = len(numbers), recipe.metric
    parts: dict[str, Tensor] = {}
    for head in corpus.heads:
        logits, name = out.logits[head.spec.id], f"head.{head.spec.id}"
        if head.spec.source == "imagenet":
            teacher = torch.from_numpy(corpus.teacher.logits[numbers].astype(np.float32))
            loss = losses.distillation(logits[:n], teacher)
        else:
            target = torch.from_numpy(head.targets[numbers]).repeat(2, *[1] * (head.targets.ndim - 1))
            if head.spec.kind == "multi_label":
                loss = losses.multi_label_softmax(logits, target)
            else:
                loss = losses.softmax_loss(logits, target, recipe.schedule.smoothing)
        parts[name] = loss * head.spec.weight
    products = torch.from_numpy(corpus.products[numbers])
    identity = torch.from_numpy(numbers)
    same = (products[:, None] == products[None]) & (products[:, None] >= 0) | (identity[:, None] == identity[None])
    old = state.memory.same(identity, products)
    codes = {"embedding": out.embedding, "hash": losses.soft_bits(out.bits)}
    for name, weight in (("embedding", 1.0), ("hash", metric.hash)):
        code = codes[name]
        arc = losses.arcface(code, state.centres[name], products.repeat(2), metric.scale, metric.margin)
        pair = losses.contrastive(
            code[:n],
            code[n:],
            temperature=metric.temperature,
            same=same,
            memory=state.memory.codes[name].clone(),
            same_memory=old,
        )
        parts[f"{name}.arcface"] = arc * metric.arcface * weight
        parts[f"{name}.contrastive"] = pair * metric.contrastive * weight
    state.memory.add(identity, products, {name: code[:n] for name, code in codes.items()})
    feature = torch.from_numpy(corpus.teacher.feature[numbers].astype(np.float32)) - corpus.centre
    parts["relational"] = losses.relational(out.feature[:n] - corpus.centre, feature) * metric.relational
    return parts


def progress_of(recipe: Recipe, step: int, seconds: float) -> float:
    """Share of the run that is done: of its steps or, where the recipe bounds them, of its minutes."""
    minutes = recipe.schedule.minutes
    return min(1.0, max(step / recipe.schedule.steps, seconds / 60 / minutes if minutes else 0.0))


def train(recipe: Recipe, data: Path, out: Path, resume: bool = False, cache: Path | None = None) -> Path:
    """Train and return the checkpoint's path (`out/checkpoint.pt`).

    `data` holds the folders that the recipe names; `cache` (default `out/cache`) keeps decoded photos.
    Deterministic from the recipe's seed on one machine, except where `schedule.minutes` cuts the run short.
    """
    torch.set_num_threads(recipe.threads)
    out.mkdir(parents=True, exist_ok=True)
    corpus = load_corpus(recipe, data, cache or out / "cache")
    state = new_state(recipe, corpus)
    file = out / CHECKPOINT
    if resume and file.is_file():
        state.load(file)
        log.info("resumed at step %d", state.step)
    state.network.train()
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[note]}"))
    with Progress(*columns) as bar:
        task = bar.add_task(recipe.name, total=1.0, note="")
        saved = time.monotonic()
        for numbers in batches(recipe, corpus, state.step):
            done = progress_of(recipe, state.step, state.seconds)
            if done >= 1.0:
                break
            begun = time.monotonic()
            record = train_step(recipe, state, corpus, numbers, done)
            state.seconds += time.monotonic() - begun
            state.step += 1
            note = f"step {state.step} loss {record['loss']:.2f}"
            bar.update(task, completed=done, note=note)
            if state.step % 10 == 0:
                state.history.append({"step": state.step, "seconds": state.seconds, **record})
                log.info("%s %.0f s %s", note, state.seconds, {k: round(v, 2) for k, v in record.items()})
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                state.save(file)
                saved = time.monotonic()
    state.save(file)
    return file


def train_step(
    recipe: Recipe, state: State, corpus: Corpus, numbers: NDArray[np.int64], done: float
) -> dict[str, float]:
    """One optimiser step on one batch; returns the losses as numbers."""
    plan = recipe.schedule
    warm = min(1.0, (state.step + 1) / max(plan.warmup, 1))
    for group in state.optimiser.param_groups:
        group["lr"] = group["rate"] * warm * 0.5 * (1 + math.cos(math.pi * done))
    size = plan.small_size if done < plan.small_share else recipe.size
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + state.step)
    torch.manual_seed(recipe.seed * 1_000_003 + state.step)  # dropout: the same after a resumption
    photos = corpus.pixels(numbers)
    views = [augment(photos, view, size, generator) for view in (WEAK, STRONG)]
    result: Outputs = state.network(torch.cat(views).contiguous(memory_format=torch.channels_last))
    parts = total_loss(recipe, state, corpus, numbers, result)
    loss = torch.stack(list(parts.values())).sum()
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), 10.0)
    state.optimiser.step()
    state.follow(plan.average)
    numbers_of = {name: float(part.detach()) for name, part in parts.items()}
    return {"loss": float(loss.detach()), **numbers_of, "p": float(state.network.pool.p.detach())}
