"""Heads of a trained network, fitted once more to training photos as they are served.

Augmentation resamples photos, which blurs them a little; a served photo is sharper. The trunk does not change. A head
changes only if it then scores better on validation photos that are decoded as in serving.
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
from training.loop.head_fit import Layer, fit_head
from training.network.model import Network
from training.recipe import STUDIO, Recipe

PULLS = (0.03, 0.1, 0.3)  # strengths of the pull towards the trained head, on standardised features
STEPS = 40
BATCH = 32
SIMPLE = ("softmax", "column")  # kind and source of the heads that are fitted again


def refit_heads(network: Network, corpus: Corpus, recipe: Recipe, data: Path) -> list[str]:
    """Improve the softmax heads of `network` in place, and return the ids of those that changed.

    Heads of the studio, heads whose source is no column, and heads of several data sets do not change. `data` is the
    folder of the data sets' folders.
    """
    changed = []
    for first, photos in zip(corpus.starts, corpus.sets, strict=True):
        mine = [
            target
            for target in corpus.heads
            if target.spec.datasets == [photos.spec.name] and (target.spec.kind, target.spec.source) == SIMPLE
        ]
        if photos.spec.reader == STUDIO or not mine:
            continue
        learnt, judged = (served(network, photos, recipe, data, split) for split in ("train", "val"))
        for target in mine:
            labels = [torch.from_numpy(target.targets[first + at]) for at, _ in (learnt, judged)]
            if better_head(network.head(target.spec.id), (learnt[1], labels[0]), (judged[1], labels[1])):
                changed.append(target.spec.id)
    return changed


Labelled = tuple[Tensor, Tensor]
"""Features `float32 [n, f]` and labels `int64 [n]`, negative where there is none."""


@torch.inference_mode()
def served(
    network: Network, photos: PhotoSet, recipe: Recipe, data: Path, split: str
) -> tuple[NDArray[np.int64], Tensor]:
    """Positions of the split's photos that can be decoded, and their features `[n, f]` as in the served graph."""
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
    """Put the best of the trained head and its refits into `head`, by correct answers on `judged`.

    Returns True if a refit was best.
    """
    known, seen = learnt[1] >= 0, judged[1] >= 0
    if not bool(known.any()) or not bool(seen.any()):
        return False
    feature, labels = learnt[0][known], learnt[1][known]

    def hits(weight: Tensor, bias: Tensor) -> int:
        return int((F.linear(judged[0][seen], weight, bias).argmax(1) == judged[1][seen]).sum())

    trained = head.weight.detach(), head.bias.detach()
    best: Layer | None = None
    most = hits(*trained)
    for pull in PULLS:
        layer = fit_head(feature, labels, trained, pull=pull, steps=STEPS, loss_of=losses.softmax_loss)
        if (count := hits(*layer)) > most:
            best, most = layer, count
    if best is None:
        return False
    with torch.no_grad():
        head.weight.copy_(best[0])
        head.bias.copy_(best[1])
    return True
