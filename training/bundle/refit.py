"""The last touch to a trained network's heads: fitted again to training photos as they are served.

Training sees photos through augmentation, whose resampling softens them; serving decodes them once, sharper. The trunk
stays, and a head moves only where validation photos, decoded as they will be served, say that it gains.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training import losses
from training.data.corpus import Corpus
from training.data.photos import PhotoSet, squash
from training.evaluation.folder import decode_row
from training.network.model import Network
from training.recipe import Recipe

PULLS = (0.03, 0.1, 0.3)  # strengths of the pull towards the trained head, on standardised features
STEPS = 40
BATCH = 32
SIMPLE = ("softmax", "column")  # kind and source of the heads that are fitted again


def refit_heads(network: Network, corpus: Corpus, recipe: Recipe, data: Path) -> list[str]:
    """Improve `network`'s softmax heads in place; returns the ids of those that were changed.

    Heads of the studio, of other sources than a column, and of several data sets are left as they are.
    """
    changed = []
    for first, photos in zip(corpus.starts, corpus.sets, strict=True):
        mine = [
            target
            for target in corpus.heads
            if target.spec.datasets == [photos.spec.name] and (target.spec.kind, target.spec.source) == SIMPLE
        ]
        if photos.spec.reader == "studio" or not mine:
            continue
        learnt, judged = (served(network, photos, recipe, data, split) for split in ("train", "val"))
        for target in mine:
            labels = [torch.from_numpy(target.targets[first + at]) for at, _ in (learnt, judged)]
            if better_head(network.head(target.spec.id), (learnt[1], labels[0]), (judged[1], labels[1])):
                changed.append(target.spec.id)
    return changed


Labelled = tuple[Tensor, Tensor]  # features [n, f], labels [n], negative where there is none


@torch.inference_mode()
def served(
    network: Network, photos: PhotoSet, recipe: Recipe, data: Path, split: str
) -> tuple[NDArray[np.int64], Tensor]:
    """Positions of the split's photos that can be decoded, and their features `[n, f]` as the served graph has them."""
    network.eval()
    at, parts = [], []
    index = photos.index(split, False)
    for start in range(0, len(index), BATCH):
        found = {
            i: decode_row(data / photos.spec.folder, photos.rows[i], squash(recipe.size))
            for i in index[start : start + BATCH]
        }
        good = {i: pixels for i, pixels in found.items() if not isinstance(pixels, str)}
        at += list(good)
        x = torch.from_numpy(np.stack(list(good.values()))).permute(0, 3, 1, 2).float()
        parts.append(network.pool(network.trunk(x.contiguous(memory_format=torch.channels_last))))
    width = network.trunk.features
    return np.array(at, np.int64), torch.cat(parts).clone() if parts else torch.empty(0, width)


def better_head(head: nn.Linear, learnt: Labelled, judged: Labelled) -> bool:
    """Put the best of the trained head and its refits into `head`, by hits among `judged`; True where a refit won."""
    known, seen = learnt[1] >= 0, judged[1] >= 0
    if not bool(known.any()) or not bool(seen.any()):
        return False
    feature, labels = learnt[0][known], learnt[1][known]

    def hits(weight: Tensor, bias: Tensor) -> int:
        return int((F.linear(judged[0][seen], weight, bias).argmax(1) == judged[1][seen]).sum())

    best, most = None, hits(head.weight, head.bias)
    for pull in PULLS:
        weight, bias = _refitted(head, feature, labels, pull)
        if (count := hits(weight, bias)) > most:
            best, most = (weight, bias), count
    if best is None:
        return False
    with torch.no_grad():
        head.weight.copy_(best[0])
        head.bias.copy_(best[1])
    return True


def _refitted(head: nn.Linear, feature: Tensor, labels: Tensor, pull: float) -> tuple[Tensor, Tensor]:
    mean, spread = feature.mean(0), feature.std(0, correction=0) + 1e-3
    x = (feature - mean) / spread
    with torch.no_grad():
        start = head.weight * spread
        level = head.bias + head.weight @ mean
    weight, bias = start.clone().requires_grad_(), level.clone().requires_grad_()
    solver = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = losses.softmax_loss(F.linear(x, weight, bias), labels) + pull * (weight - start).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        back = weight / spread
        return back, bias - back @ mean
