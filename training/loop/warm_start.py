"""Where a network starts: at what is known, so that the first steps harm the trunk less."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import losses
from training.data.corpus import Corpus
from training.data.frozen_trunk import principal_axes
from training.data.labels import Targets
from training.network.model import EMBEDDING, Network
from training.network.trunk import packaged

FIT_STEPS = 60
PENALTY = 1e-2  # of 1e-3 and 1e-2 the better on the validation photos of most heads


@torch.no_grad()
def start_from_teacher(
    network: Network, centres: nn.ParameterDict, corpus: Corpus, spaces: Mapping[str, str], trunk: str
) -> None:
    """Start the embedding at the principal axes of the teacher's features, centres at the mean of their photos, the
    object head at the packaged classifier's layer, and the other heads at what they can tell from the frozen trunk:
    heads that start at random bend the trunk out of shape in the first steps (Kumar et al. 2022).

    `spaces`: key in `centres` of every loss with product centres → `embedding` or `hash`."""
    if len(corpus.learnt) > EMBEDDING:
        weight, bias = principal_axes(corpus.teacher.feature[corpus.learnt], EMBEDDING)
        network.embed.weight.copy_(weight)
        network.embed.bias.copy_(bias)
    device = network.embed.weight.device
    known = np.flatnonzero(corpus.products >= 0)
    feature = torch.from_numpy(corpus.teacher.feature[known].astype(np.float32)).to(device)
    embedding = F.normalize(F.linear(feature, network.embed.weight, network.embed.bias))
    product = torch.from_numpy(corpus.products[known]).to(device)
    # a product's centre starts at the mean of its photos, not at random: the first steps harm the trunk less
    codes = {"embedding": embedding, "hash": losses.soft_bits(F.linear(embedding, network.catalyzer.weight))}
    for name, space in spaces.items():
        centres[name].zero_().index_add_(0, product, codes[space])
        centres[name].copy_(F.normalize(centres[name]))
    for target in corpus.heads:
        if target.spec.source == "imagenet":
            head = network.head(target.spec.id)
            state = packaged(trunk)
            # GeM with p = 2 is larger than the average that this layer was made for
            head.weight.copy_(state["fc.weight"] * _scale_to_average(corpus, state))
            head.bias.copy_(state["fc.bias"])
        else:
            fit_head(network.head(target.spec.id), target, corpus)


@torch.enable_grad()
def fit_head(head: nn.Linear, target: Targets, corpus: Corpus) -> None:
    """Fit `head` to the teacher's features of the training photos: L-BFGS, features standardised for the penalty."""
    train = corpus.learnt
    multi = target.spec.kind == "multi_label"
    known = train[target.targets[train].any(1) if multi else target.targets[train] >= 0]
    device = head.weight.device
    feature = torch.from_numpy(corpus.teacher.feature[known].astype(np.float32)).to(device)
    mean, spread = feature.mean(0), feature.std(0, correction=0) + 1e-3
    feature, labels = (feature - mean) / spread, torch.from_numpy(target.targets[known]).to(device)
    weight = torch.zeros_like(head.weight, requires_grad=True)
    bias = torch.zeros_like(head.bias, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=FIT_STEPS, line_search_fn="strong_wolfe")
    loss_of = losses.multi_label_softmax if multi else losses.softmax_loss

    def closure() -> Tensor:
        solver.zero_grad()
        loss = loss_of(F.linear(feature, weight, bias), labels) + PENALTY * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        head.bias.copy_(bias - head.weight @ mean)


def _scale_to_average(corpus: Corpus, state: dict[str, Tensor]) -> float:
    """Least-squares factor between the packaged logits and those that the GeM feature would give."""
    some = corpus.learnt[:: max(len(corpus.learnt) // 2000, 1)]
    theirs = torch.from_numpy(corpus.teacher.logits[some].astype(np.float32)) - state["fc.bias"]
    ours = torch.from_numpy(corpus.teacher.feature[some].astype(np.float32)) @ state["fc.weight"].T
    return float((ours * theirs).sum() / ours.square().sum())
