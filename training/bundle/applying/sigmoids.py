"""Which photos a head is for: for each data set, a sigmoid on the trunk's feature that tells its photos from others.

The negatives of a data set are the other data sets' photos and the generic ones. Every set counts equally, so a large
one does not decide alone. A head of several data sets has a domain of its own: its p(applies) is the sum of theirs, at
most 1, because a photo is rarely of two. In a head of words, each word has the sum over the data sets that know it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from schemas.errors import ConfigError
from schemas.manifest import Applicability, Domain, Head
from training.bundle.applying.features import Features
from training.recipe import Recipe

Floats = NDArray[np.float64]
PULL = 2e-3  # validation photos tell no difference between a third and three times of it
STEPS = 100  # of L-BFGS at most
KEPT = 0.995  # share of a domain's validation photos that reach its threshold
HIGHEST = 0.5  # a threshold is never above this, however sure the sigmoid is of its own validation photos


@dataclass(frozen=True)
class Applying:
    """The fitted layer: p = σ(weight · feature + bias) for each of d data sets, and what it means for m domains.

    Attributes:
        datasets: names of the data sets, in the order of the layer's rows.
        weight: `float32 [d, f]`.
        bias: `float32 [d]`.
        domains: of the manifest; the first d are the data sets, then come heads of several data sets.
        members: `float32 [d, m]`, 1 where a data set belongs to a domain.
    """

    datasets: list[str]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    domains: list[Domain]
    members: NDArray[np.float32]

    def own(self, feature: Features) -> Floats:
        """p of each data set, `[n, d]`, for `feature [n, f]`."""
        odds = feature.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        result: Floats = 1 / (1 + np.exp(-odds))
        return result

    def domain(self, feature: Features) -> Floats:
        """p(applies) of each domain, `[n, m]`."""
        return np.minimum(self.own(feature) @ self.members, 1.0)


def domain_of(head: Head) -> str:
    """The id of a head's domain: its data set, its own id if it has several, "" if it has none."""
    if len(head.datasets) == 1:
        return head.datasets[0]
    return head.id if head.datasets else ""


def fit_applying(
    recipe: Recipe,
    heads: Sequence[Head],
    learnt: Mapping[str, Features],
    judged: Mapping[str, Features],
    near: Applying | None = None,
) -> Applying:
    """Fit one sigmoid a data set, and choose the thresholds of the domains.

    Args:
        recipe: names the data sets and the generic sets, and what the generic ones show.
        heads: of the bundle; a data set without a head has no domain.
        learnt: features of training photos by set, `[n, f]` each, generic sets included.
        judged: the same of validation photos of the data sets; they choose the thresholds.
        near: of nearly the same photos; the fit begins there.

    Raises:
        ConfigError: a data set has no photo to learn from.
    """
    datasets = [d.name for d in recipe.datasets if any(d.name in head.datasets for head in heads)]
    shows = {one.name: one.shows for one in recipe.generic}
    weights, biases = [], []
    for i, name in enumerate(datasets):
        if name not in learnt or not len(learnt[name]):
            raise ConfigError(f"datasets[{name}]: no training photo can be read, so nothing tells its photos apart")
        others = {n: f for n, f in learnt.items() if n != name and len(f) and name not in shows.get(n, ())}
        begin = None if near is None else (near.weight[i].astype(np.float64), float(near.bias[i]))
        layer = sigmoid(learnt[name], list(others.values()), begin)
        weights.append(layer[0])
        biases.append(layer[1])
    several = [head for head in heads if len(head.datasets) > 1]
    names = [*datasets, *(head.id for head in several)]
    members = np.zeros((len(datasets), len(names)), np.float32)
    members[:, : len(datasets)] = np.eye(len(datasets))
    for i, head in enumerate(several, len(datasets)):
        members[[datasets.index(d) for d in head.datasets], i] = 1
    rough = Applying(
        datasets,
        np.stack(weights).astype(np.float32),
        np.array(biases, np.float32),
        [Domain(id=name, threshold=HIGHEST) for name in names],
        members,
    )
    domains = []
    for i, name in enumerate(names):
        mine = [datasets[d] for d in np.flatnonzero(members[:, i])]
        said = np.concatenate([rough.domain(judged[d])[:, i] for d in mine if d in judged] or [np.empty(0)])
        domains.append(Domain(id=name, threshold=_threshold(said)))
    return Applying(datasets, rough.weight, rough.bias, domains, members)


def sigmoid(
    own: Features, others: Sequence[Features], near: tuple[Floats, float] | None = None
) -> tuple[Floats, float]:
    """Weight `[f]` and bias of the logistic regression of `own [n, f]` against the sets `others`.

    Both sides count equally, and so do the sets of the other side. The weights are pulled to 0 on standardised features
    with the strength `PULL`. The problem is convex and solved by L-BFGS; it begins at `near`, which saves time.
    """
    x = np.concatenate([own, *others])
    mean, spread = x.mean(0), x.std(0) + np.float32(1e-3)
    x = (x - mean) / spread
    sign = np.ones(len(x), np.float32)
    sign[len(own) :] = -1
    rest = [np.full(len(one), 1 / len(one) / len(others)) for one in others]
    share = np.concatenate([np.full(len(own), 1 / len(own)), *rest]).astype(np.float32) / 2

    def loss(layer: Floats) -> tuple[float, Floats]:
        weight = layer[:-1].astype(np.float32)
        margin = sign * (x @ weight + np.float32(layer[-1]))
        doubt = share * sign / (1 + np.exp(np.minimum(margin, 80)))
        value = float(share @ np.logaddexp(0, -margin)) + PULL * float(weight @ weight)
        return value, np.append(2 * PULL * weight - x.T @ doubt, -doubt.sum()).astype(np.float64)

    start = np.zeros(x.shape[1] + 1)
    if near is not None:
        start[:-1], start[-1] = near[0] * spread, near[1] + near[0] @ mean
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    weight: Floats = found[:-1] / spread
    return weight, float(found[-1] - weight @ mean)


def _threshold(said: Floats) -> float:
    """The p that `KEPT` of these photos reach, rounded down to four digits, at most `HIGHEST`."""
    if not len(said):
        return HIGHEST
    lowest = float(np.quantile(said, 1 - KEPT, method="lower"))
    return float(max(1e-4, min(HIGHEST, np.floor(lowest * 1e4) / 1e4)))


def word_members(head: Head, datasets: Sequence[str], counts: NDArray[np.integer], least: int) -> NDArray[np.float32]:
    """`float32 [d, labels]`: 1 where a data set knows a label of a head of several data sets.

    `counts [d, labels]` are the training photos of each data set with the label. A data set knows a label that `least`
    of its photos have; the one with most photos always does.
    """
    known = (counts >= least) | (counts == counts.max(0, keepdims=True))
    known &= counts > 0
    known[:, ~known.any(0)] = True
    mine = np.array([name in head.datasets for name in datasets])[:, None]
    members: NDArray[np.float32] = (known & mine).astype(np.float32)
    return members


def in_manifest(applying: Applying) -> Applicability:
    """As the manifest has it."""
    return Applicability(domains=applying.domains)
