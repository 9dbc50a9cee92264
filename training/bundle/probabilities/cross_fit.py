"""What a head says of training photos that it did not learn from.

The layer of a head is fitted to the training photos of all folds but one, and scores the photos of that one. So every
training photo gets a score from a layer that saw neither it nor another photo of its product. The features stay those
of the trunk, which did learn from all these photos and therefore flatters them. Because of that, such scores only
support what validation photos say (`thresholds.supported`); they never replace it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from training import losses
from training.loop.head_fit import PULL, STEPS, fit_head

FOLDS = 5


def folds_of(products: NDArray[np.int64], folds: int = FOLDS) -> NDArray[np.int64]:
    """The fold of each photo, `int64 [n]`. Photos of one product, an equal number in `products [n]`, share a fold."""
    _, place = np.unique(products, return_inverse=True)
    drawn = np.random.default_rng(0).permutation(place.max(initial=-1) + 1) % folds
    result: NDArray[np.int64] = drawn[place]
    return result


def cross_fitted(
    feature: NDArray[np.float32], labels: NDArray[np.int64], fold: NDArray[np.int64], classes: int
) -> NDArray[np.float32]:
    """Probabilities `float32 [n, classes]` of each photo, by a softmax layer fitted to the photos of the other folds.

    Args:
        feature: `[n, f]`.
        labels: `[n]`, negative where there is none; such photos are scored, and nothing is learnt from them.
        fold: `[n]`, see `folds_of`.
        classes: how many labels the head has.
    """
    x, y = torch.from_numpy(feature), torch.from_numpy(labels)
    found = np.full((len(labels), classes), 1 / classes, np.float32)
    start = torch.zeros(classes, feature.shape[1]), torch.zeros(classes)
    for one in np.unique(fold):
        left, learnt = fold == one, (fold != one) & (labels >= 0)
        if not learnt.any():
            continue
        chosen = torch.from_numpy(learnt)
        layer = fit_head(x[chosen], y[chosen], start, pull=PULL, steps=STEPS, loss_of=losses.softmax_loss)
        found[left] = F.linear(x[torch.from_numpy(left)], *layer).softmax(1).numpy()
    return found
