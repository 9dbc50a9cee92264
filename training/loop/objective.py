"""The weighted sum of losses of a batch: those of the heads, of the recipe's embedding and hash, and of a tutor."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from training import losses
from training.loop.batch import Batch, Term
from training.loop.distributed import fair, gather, several
from training.loop.state import State, centre_key
from training.loop.tutor import tutor_terms
from training.recipe import (
    ArcFace,
    BatchHardTriplet,
    Contrastive,
    CosFace,
    HardCascade,
    LossSpec,
    MultiLabelArcFace,
    NormalisedSoftmax,
    Pairwise,
    Recipe,
    Relational,
    Softmax,
    SphereFace,
    Spreading,
    Standard,
    ToCentres,
)


def total_loss(recipe: Recipe, state: State, batch: Batch) -> dict[str, Tensor]:
    """Weighted losses by name, float scalars, each with the mean that one process with the whole batch would take.

    Contrastive losses add the batch to their memory in `state`.
    """
    terms = head_terms(recipe, batch)
    terms |= {spec.id: _loss_term(spec, state, batch) for spec in recipe.all_losses}
    terms |= tutor_terms(recipe, batch)
    if not several():
        return {name: term.value for name, term in terms.items()}
    whole = torch.ones((), device=batch.device)
    factors = fair(torch.stack([whole if t.counted is None else t.counted.float() for t in terms.values()]))
    return {name: term.value * factor for (name, term), factor in zip(terms.items(), factors, strict=True)}


def head_terms(recipe: Recipe, batch: Batch) -> dict[str, Term]:
    """The heads' losses, named `head.ID`. In a batch with a tutor, labels get the recipe's `distillation.labels`."""
    terms, n = {}, len(batch.numbers)
    labels = 1.0 if batch.tutor is None else recipe.distillation.labels
    for head in batch.corpus.heads:
        logits = batch.out.logits[head.spec.id]
        if head.spec.source == "imagenet":
            loss = losses.distillation(logits[:n], batch.put(batch.corpus.frozen.logits))
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


def _loss_term(spec: LossSpec, state: State, batch: Batch) -> Term:
    """One loss of the embedding, the hash or the trunk's feature."""
    match spec:
        case ArcFace() | CosFace() | SphereFace() | NormalisedSoftmax() | Softmax() | MultiLabelArcFace():
            return _centre_term(spec, state, batch)
        case Contrastive():
            loss = _contrastive(spec, state, batch)
        case Relational():
            loss = _relational(spec, batch)
        case Pairwise():
            loss = losses.pairwise_double_margin(
                gather(batch.codes[spec.on]),
                gather(_products(spec, batch)),
                alpha=spec.alpha,
                positive=spec.positive,
                negative=spec.negative,
                negative_weight=spec.negative_weight,
                cap=spec.cap,
            )
        case Standard():
            code, products = gather(batch.codes[spec.on]), gather(_products(spec, batch))
            loss = losses.standard_pairs(spec.name, code, products, spec.parameters)
        case BatchHardTriplet():
            code, products = gather(batch.codes[spec.on]), gather(_products(spec, batch))
            loss = losses.batch_hard_triplet(code, products, spec.margin)
        case HardCascade():
            depths = [gather(rows) for rows in (*batch.out.shallow, batch.out.embedding)]
            loss = losses.hard_cascade(depths, gather(_products(spec, batch)), spec.shares, spec.margin)
        case Spreading():
            # weak views alone: the two views of a photo shall stay near each other
            loss = losses.spreading(_of_all_ranks(spec, batch, batch.codes[spec.on][: len(batch.numbers)]))
        case _:
            assert_never(spec)
    return Term(loss * spec.weight)


def _centre_term(spec: ToCentres | MultiLabelArcFace, state: State, batch: Batch) -> Term:
    """A loss with class centres: the mean over this rank's photos that have a product or a label."""
    code = batch.out.neck if isinstance(spec, Softmax) else batch.codes[spec.on]
    centres = state.centres[centre_key(spec.id)]
    if not isinstance(spec, MultiLabelArcFace):
        ids = _products(spec, batch)
        return Term(_to_centres(spec, code, centres, ids) * spec.weight, (ids >= 0).sum())
    targets = next(t.targets for t in batch.corpus.heads if t.spec.id == spec.head)
    marks = batch.put(targets)
    if spec.datasets:
        marks = marks & batch.of(spec.datasets)[:, None]
    marks = marks.repeat(batch.views, 1)
    loss = losses.multi_label_arcface(code, centres, marks, spec.scale, spec.margin)
    return Term(loss * spec.weight, marks.any(1).sum())


def _to_centres(spec: ToCentres, code: Tensor, centres: Tensor, products: Tensor) -> Tensor:
    match spec:
        case ArcFace():
            return losses.arcface(code, centres, products, spec.scale, spec.margin)
        case CosFace():
            return losses.cosface(code, centres, products, spec.scale, spec.margin)
        case SphereFace():
            return losses.sphereface(code, centres, products, spec.scale, spec.factor)
        case Softmax():
            return losses.softmax_loss(losses.wide(code) @ losses.wide(centres).T, products)
        case NormalisedSoftmax():
            return losses.normalised_softmax(code, centres, products, spec.scale)


def _contrastive(spec: Contrastive, state: State, batch: Batch) -> Tensor:
    """Over all ranks' photos, which are then added to the loss's memory."""
    n, code, memory = len(batch.numbers), batch.codes[spec.on], state.memories[spec.id]
    weak, strong, numbers, products = (
        _of_all_ranks(spec, batch, rows) for rows in (code[:n], code[n:], batch.numbers, batch.products)
    )
    alike = (products[:, None] == products[None]) & (products[:, None] >= 0)
    loss = losses.contrastive(
        weak,
        strong,
        temperature=spec.temperature,
        same=alike | (numbers[:, None] == numbers[None]),
        memory=memory.codes.clone(),
        same_memory=memory.same(numbers, products),
    )
    memory.add(numbers, products, weak)
    return loss


def _relational(spec: Relational, batch: Batch) -> Tensor:
    """Over all ranks' weak views. Features are all positive, so their mean is taken off: raw cosines are all near 1."""
    centre = batch.corpus.centre.to(batch.device, non_blocking=True)
    ours = batch.out.feature[: len(batch.numbers)] - centre
    theirs = batch.put(batch.corpus.frozen.feature) - centre
    return losses.relational(_of_all_ranks(spec, batch, ours), _of_all_ranks(spec, batch, theirs))


def _products(spec: LossSpec, batch: Batch) -> Tensor:
    """`int64 [views · n]`: the products of all views, −1 for none and for photos of data sets that do not count."""
    products = batch.products
    if spec.datasets:
        products = torch.where(batch.of(spec.datasets), products, -1)
    return products.repeat(batch.views)


def _of_all_ranks(spec: LossSpec, batch: Batch, rows: Tensor) -> Tensor:
    """The rows `[n, …]` of all ranks, of those photos whose data sets count for the loss."""
    everyone = gather(rows)
    # without a choice nothing is indexed: a GPU would have to wait for the number of rows that stay
    return everyone[gather(batch.of(spec.datasets).int()) > 0] if spec.datasets else everyone
