"""A tutor: a larger network with the same heads, from which a student learns as well as from the labels.

This is knowledge distillation (Hinton et al. 2015). Tutor and student see the same view of a photo, and the run is
long, which Beyer et al. 2022 ("A good teacher is patient and consistent") found to matter most.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from schemas.errors import ConfigError
from training import losses
from training.loop.batch import Batch, Term
from training.loop.distributed import gather
from training.loop.state import half_precision, load_network
from training.recipe import Recipe


def load_tutor(checkpoint: Path, recipe: Recipe, sizes: Mapping[str, int], device: torch.device) -> nn.Module:
    """The network of a finished run of `recipe`, frozen, on `device`. `sizes` are the student's heads: id → labels.

    Raises:
        ConfigError: there is no checkpoint, or it has another trunk or other heads.
    """
    if not checkpoint.is_file():
        raise ConfigError(f"--tutor: there is no {checkpoint}; train it first, with --as-tutor")
    try:
        network, _ = load_network(checkpoint, recipe, sizes)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        text = f"--tutor: {checkpoint} is no tutor of this recipe ({reason}); train one with --as-tutor"
        raise ConfigError(text) from None
    network.requires_grad_(False)
    network.bfloat16_trunk = half_precision(recipe.schedule, device)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def tutor_terms(recipe: Recipe, batch: Batch) -> dict[str, Term]:
    """Weighted losses against the tutor's outputs for the same views: `tutor.HEAD` and `tutor.embedding`.

    A head counts on all photos of its data sets, labelled or not. A head with source `imagenet` is left out, because it
    imitates the packaged classifier already.
    """
    if batch.tutor is None:
        return {}
    plan = recipe.distillation
    terms: dict[str, Term] = {}
    for head in batch.corpus.heads:
        spec = head.spec
        if spec.source != "imagenet" and plan.heads:
            counted = batch.of(spec.datasets).repeat(batch.views)
            ours, theirs = batch.out.logits[spec.id], batch.tutor.logits[spec.id]
            loss = losses.distillation(ours, theirs, plan.temperature, counted)
            terms[f"tutor.{spec.id}"] = Term(loss * spec.weight * plan.heads, counted.sum())
    if plan.embedding:
        alike = losses.relational(gather(batch.out.embedding), gather(batch.tutor.embedding))
        terms["tutor.embedding"] = Term(alike * plan.embedding)
    return terms
