"""A larger network of the same heads that a student learns from besides the labels.

Knowledge distillation (Hinton et al. 2015) with tutor and student looking at the same view of a photo, for long, as
Beyer et al. 2022 ("A good teacher is patient and consistent") found to matter most.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from schemas.errors import ConfigError
from training import losses
from training.loop.distributed import gather
from training.loop.state import half_precision, load_network
from training.recipe import Recipe

if TYPE_CHECKING:  # the batch's module needs this one
    from training.loop.objective import Batch


def load_tutor(checkpoint: Path, recipe: Recipe, sizes: Mapping[str, int], device: torch.device) -> nn.Module:
    """The network of a finished run of `recipe`, as it would be exported, on `device`; `sizes` are the student's heads.

    Raises ConfigError where the run has another trunk, other heads or no checkpoint.
    """
    if not checkpoint.is_file():
        raise ConfigError(f"--tutor: {checkpoint} is not there; train it first, with --as-tutor")
    try:
        network, _ = load_network(checkpoint, recipe, sizes)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        text = f"--tutor: {checkpoint} is no tutor of this recipe ({reason}); train one with --as-tutor"
        raise ConfigError(text) from None
    network.requires_grad_(False)
    network.bfloat16_trunk = half_precision(recipe.schedule, device)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def tutor_terms(recipe: Recipe, batch: Batch) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Weighted losses against the tutor's outputs for the same views, `tutor.HEAD` and `tutor.embedding`, each with the
    number of this rank's photos that it is a mean over, None for one over all ranks' pairs.

    A head counts on the photos of its data sets, labelled or not. A head that is distilled from the packaged classifier
    has its teacher already.
    """
    if batch.tutor is None:
        return {}
    plan = recipe.distillation
    terms: dict[str, tuple[Tensor, Tensor | None]] = {}
    for head in batch.corpus.heads:
        spec = head.spec
        if spec.source != "imagenet" and plan.heads:
            counted = batch.of(spec.datasets).repeat(batch.views)
            ours, theirs = batch.out.logits[spec.id], batch.tutor.logits[spec.id]
            loss = losses.distillation(ours, theirs, plan.temperature, counted)
            terms[f"tutor.{spec.id}"] = loss * spec.weight * plan.heads, counted.sum()
    if plan.embedding:
        alike = losses.relational(gather(batch.out.embedding), gather(batch.tutor.embedding))
        terms["tutor.embedding"] = alike * plan.embedding, None
    return terms
