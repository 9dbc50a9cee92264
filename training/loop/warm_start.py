"""Where a network starts: at what the frozen trunk already knows, so that the first steps harm the trunk less."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training import losses
from training.data.corpus import Corpus
from training.data.frozen_trunk import principal_axes
from training.data.labels import Targets
from training.loop.head_fit import PULL, STEPS, fit_head
from training.network.model import Network
from training.network.trunk import packaged

FIT_STEPS = 60
PENALTY = 1e-2  # better than 1e-3 on the validation photos of most heads


@torch.no_grad()
def warm_start(
    network: Network, centres: nn.ParameterDict, corpus: Corpus, spaces: Mapping[str, str], trunk: str
) -> None:
    """Set `network` and `centres` in place.

    The embedding starts at the principal axes of the frozen trunk's features, and every class centre at the mean of its
    product's photos. Heads with source `imagenet` start at the packaged classifier's layer. All other heads start at
    the best fit to the frozen features, because heads that start at random distort the trunk in the first steps
    (Kumar et al. 2022).

    Args:
        spaces: key in `centres` → `embedding` or `hash`, for every loss whose centres are those of products.
        trunk: name of the packaged Lite trunk.
    """
    if len(corpus.learnt) > 1:
        weight, bias = principal_axes(corpus.frozen.feature[corpus.learnt], network.embed.out_features)
        network.embed.weight.copy_(weight)
        network.embed.bias.copy_(bias)
    device = network.embed.weight.device
    known = np.flatnonzero(corpus.products >= 0)
    feature = torch.from_numpy(corpus.frozen.feature[known].astype(np.float32)).to(device)
    embedding = F.normalize(F.linear(feature, network.embed.weight, network.embed.bias))
    product = torch.from_numpy(corpus.products[known]).to(device)
    codes = {"embedding": embedding, "hash": losses.soft_bits(F.linear(embedding, network.hash_layer.weight))}
    for name, space in spaces.items():
        centres[name].zero_().index_add_(0, product, codes[space])
        centres[name].copy_(F.normalize(centres[name]))
    for target in corpus.heads:
        head = network.head(target.spec.id)
        if target.spec.source == "imagenet":
            state = packaged(trunk)
            # the classifier was made for average pooling; GeM with p = 2 gives larger features
            head.weight.copy_(state["fc.weight"] * _scale_to_average(corpus, state))
            head.bias.copy_(state["fc.bias"])
        else:
            weight, bias = fit_to_frozen(head, target, corpus)
            head.weight.copy_(weight)
            head.bias.copy_(bias)


@torch.no_grad()
def fit_kept_heads(network: Network, corpus: Corpus) -> None:
    """Fit every head to the features of a trunk that stays as it is, in place. The penalty is that of the heads that
    judge the training photos (`training/bundle/probabilities/cross_fit.py`)."""
    feature = torch.from_numpy(corpus.frozen.feature[corpus.learnt].astype(np.float32)).to(network.embed.weight.device)
    if network.adapter is not None:
        feature = network.adapter(feature)
    for target in corpus.heads:
        if target.spec.source != "imagenet":
            head = network.head(target.spec.id)
            weight, bias = _fit(head, target, corpus.learnt, feature, pull=PULL, steps=STEPS)
            head.weight.copy_(weight)
            head.bias.copy_(bias)


def fit_to_frozen(head: nn.Linear, target: Targets, corpus: Corpus) -> tuple[Tensor, Tensor]:
    """Weight `float32 [labels, f]` and bias `float32 [labels]` for `head`, fitted to the frozen features of the
    training photos that have a label."""
    feature = torch.from_numpy(corpus.frozen.feature[corpus.learnt].astype(np.float32)).to(head.weight.device)
    return _fit(head, target, corpus.learnt, feature, pull=PENALTY, steps=FIT_STEPS)


def _fit(
    head: nn.Linear, target: Targets, numbers: NDArray[np.int64], feature: Tensor, *, pull: float, steps: int
) -> tuple[Tensor, Tensor]:
    """`fit_to_frozen` for the photos `numbers [n]` with features `[n, f]`."""
    multi = target.spec.kind == "multi_label"
    labels = target.targets[numbers]
    known = labels.any(1) if multi else labels >= 0
    return fit_head(
        feature[torch.from_numpy(known)],
        torch.from_numpy(labels[known]).to(head.weight.device),
        (torch.zeros_like(head.weight), torch.zeros_like(head.bias)),
        pull=pull,
        steps=steps,
        loss_of=losses.multi_label_softmax if multi else losses.softmax_loss,
    )


def _scale_to_average(corpus: Corpus, state: dict[str, Tensor]) -> float:
    """The factor that brings the packaged layer's logits on GeM features nearest to those on averaged features, by
    least squares over at most about 2,000 training photos."""
    some = corpus.learnt[:: max(len(corpus.learnt) // 2000, 1)]
    theirs = torch.from_numpy(corpus.frozen.logits[some].astype(np.float32)) - state["fc.bias"]
    ours = torch.from_numpy(corpus.frozen.feature[some].astype(np.float32)) @ state["fc.weight"].T
    return float((ours * theirs).sum() / ours.square().sum())
