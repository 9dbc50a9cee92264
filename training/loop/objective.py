"""The weighted sum of losses that a batch is judged by: heads, the recipe's `[metric]` table, its `[[losses]]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training import losses
from training.data.corpus import Corpus
from training.loop.distributed import fair, gather, several
from training.loop.state import State, centre_key
from training.loop.tutor import tutor_terms
from training.losses import pairs
from training.network.model import Outputs
from training.recipe import ArcFace, LossSpec, MultiLabelArcFace, Pairwise, Recipe, Spreading, Standard


@dataclass(frozen=True)
class Term:
    """A loss times the recipe's weight. `counted` is the number of this rank's photos that it is a mean over; None for
    a loss of all ranks' photos, which is the same number on every rank."""

    value: Tensor
    counted: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """What is known of a batch, on the device of the outputs: photo `numbers int [n]`, `products int [n]` (−1: none),
    and the outputs of its weak views, then of its strong ones, in the same order; the same of a tutor, if any."""

    corpus: Corpus
    numbers: Tensor
    products: Tensor
    views: int
    out: Outputs
    tutor: Outputs | None = None

    @property
    def device(self) -> torch.device:
        """Where the outputs are."""
        return self.out.feature.device

    def put(self, values: NDArray[np.generic]) -> Tensor:
        """Rows of this batch of one of the corpus's arrays, as a tensor beside the outputs."""
        rows = self.corpus.placed(values, self.device)[self.numbers]
        return rows.float() if rows.dtype == torch.float16 else rows

    def of(self, datasets: Sequence[str]) -> Tensor:
        """`bool [n]`: which photos are of these data sets."""
        return self.put(self.corpus.members(tuple(datasets)))


def batch_of(corpus: Corpus, numbers: NDArray[np.int64], out: Outputs, tutor: Outputs | None = None) -> Batch:
    """The batch of these photos and the network's outputs for all their views."""
    index = torch.from_numpy(numbers).to(out.feature.device)
    products = corpus.placed(corpus.products, out.feature.device)[index]
    return Batch(corpus, index, products, len(out.feature) // len(numbers), out, tutor)


def total_loss(recipe: Recipe, state: State, corpus: Corpus, batch: Batch) -> dict[str, Tensor]:
    """Weighted losses by name, each averaged as one process with the whole batch would average it."""
    terms = head_terms(recipe, corpus, batch) | _metric_terms(recipe, state, corpus, batch)
    terms |= {name: Term(*term) for name, term in tutor_terms(recipe, batch).items()}
    terms |= {spec.id: _declared(spec, state, corpus, batch) for spec in recipe.losses}
    if not several():
        return {name: term.value for name, term in terms.items()}
    whole = torch.ones((), device=batch.device)
    factors = fair(torch.stack([whole if t.counted is None else t.counted.float() for t in terms.values()]))
    return {name: term.value * factor for (name, term), factor in zip(terms.items(), factors, strict=True)}


def head_terms(recipe: Recipe, corpus: Corpus, batch: Batch) -> dict[str, Term]:
    """The heads' losses, named `head.ID`; beside a tutor, labels count as the recipe says."""
    terms, n = {}, len(batch.numbers)
    labels = 1.0 if batch.tutor is None else recipe.distillation.labels
    for head in corpus.heads:
        logits = batch.out.logits[head.spec.id]
        if head.spec.source == "imagenet":
            loss = losses.distillation(logits[:n], batch.put(corpus.teacher.logits))
            counted = torch.full((), n, device=batch.device)
        else:
            target = batch.put(head.targets).repeat(batch.views, *[1] * (head.targets.ndim - 1))
            if head.spec.kind == "multi_label":
                loss, counted = losses.multi_label_softmax(logits, target), target.any(1).sum()
            else:
                loss = losses.softmax_loss(logits, target, recipe.schedule.smoothing)
                counted = (target >= 0).sum()
            loss = loss * labels
        terms[f"head.{head.spec.id}"] = Term(loss * head.spec.weight, counted)
    return terms


def _metric_terms(recipe: Recipe, state: State, corpus: Corpus, batch: Batch) -> dict[str, Term]:
    """ArcFace and the contrastive term on the embedding and on the softened hash, and the relational term."""
    metric, n, out = recipe.metric, len(batch.numbers), batch.out
    terms: dict[str, Term] = {}
    products, identity = gather(batch.products), gather(batch.numbers)
    same = (products[:, None] == products[None]) & (products[:, None] >= 0) | (identity[:, None] == identity[None])
    old = state.memory.same(identity, products)
    codes = {"embedding": out.embedding, "hash": losses.soft_bits(out.bits)}
    ids = batch.products.repeat(batch.views)
    weak = {name: gather(code[:n]) for name, code in codes.items()} if metric.contrastive else {}
    for name, weight in (("embedding", 1.0), ("hash", metric.hash)):
        if metric.arcface and weight:
            arc = losses.arcface(codes[name], state.centres[name], ids, metric.scale, metric.margin)
            terms[f"{name}.arcface"] = Term(arc * metric.arcface * weight, (ids >= 0).sum())
        if metric.contrastive and weight:
            pair = losses.contrastive(
                weak[name],
                gather(codes[name][n:]),
                temperature=metric.temperature,
                same=same,
                memory=state.memory.codes[name].clone(),
                same_memory=old,
            )
            terms[f"{name}.contrastive"] = Term(pair * metric.contrastive * weight)
    if weak:
        state.memory.add(identity, products, weak)
    if metric.relational:
        centre = corpus.centre.to(batch.device, non_blocking=True)
        feature = gather(batch.put(corpus.teacher.feature) - centre)
        terms["relational"] = Term(losses.relational(gather(out.feature[:n] - centre), feature) * metric.relational)
    return terms


def _declared(spec: LossSpec, state: State, corpus: Corpus, batch: Batch) -> Term:
    """One of the recipe's `[[losses]]`."""
    seen = batch.of(spec.datasets or [s.spec.name for s in corpus.sets])
    code = batch.out.embedding if spec.on == "embedding" else losses.soft_bits(batch.out.bits)
    ids = torch.where(seen, batch.products, -1).repeat(batch.views)
    match spec:
        case ArcFace():
            loss = losses.arcface(code, state.centres[centre_key(spec.id)], ids, spec.scale, spec.margin)
            return Term(loss * spec.weight, (ids >= 0).sum())
        case MultiLabelArcFace():
            targets = next(t.targets for t in corpus.heads if t.spec.id == spec.head)
            marks = (batch.put(targets) & seen[:, None]).repeat(batch.views, 1)
            centres = state.centres[centre_key(spec.id)]
            loss = losses.multi_label_arcface(code, centres, marks, spec.scale, spec.margin)
            return Term(loss * spec.weight, marks.any(1).sum())
        case Pairwise():
            loss = pairs.pairwise_double_margin(
                gather(code),
                gather(ids),
                alpha=spec.alpha,
                positive=spec.positive,
                negative=spec.negative,
                negative_weight=spec.negative_weight,
            )
        case Standard():
            loss = pairs.standard_pairs(spec.name, gather(code), gather(ids))
        case Spreading():
            n = len(batch.numbers)  # weak views alone: a photo's other view shall stay near
            loss = pairs.spreading(gather(code[:n])[gather(seen.int()) > 0])
        case _:
            assert_never(spec)
    return Term(loss * spec.weight)
