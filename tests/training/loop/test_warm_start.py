"""Heads start where the frozen trunk's feature is fitted best."""

from __future__ import annotations

import numpy as np
import torch

from training.data.corpus import Corpus
from training.loop.warm_start import PENALTY, fit_to_frozen


def test_heads_start_at_the_optimum_of_the_frozen_feature(tiny_corpus: Corpus) -> None:
    target = next(t for t in tiny_corpus.heads if t.spec.id == "studio.category")
    head = torch.nn.Linear(1280, len(target.values))
    fitted, bias = fit_to_frozen(head, target, tiny_corpus)
    photos = tiny_corpus.sets[0]
    train = np.concatenate([photos.index("train", False), photos.index("train", True)])
    feature = torch.from_numpy(tiny_corpus.frozen.feature[train].astype(np.float32))
    labels = torch.from_numpy(target.targets[train])

    def penalised(weight: torch.Tensor) -> float:
        scaled = weight * (feature.std(0, correction=0) + 1e-3)
        loss = torch.nn.functional.cross_entropy(feature @ weight.T + bias, labels)
        return float(loss + PENALTY * scaled.square().sum())

    best = penalised(fitted)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):  # convex: every step away from the optimum is uphill
        step = torch.randn(fitted.shape, generator=generator)
        assert penalised(fitted + step * 0.1) > best
