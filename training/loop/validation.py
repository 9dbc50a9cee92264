"""How a run does on validation photos while it runs: losses for the weighting, and a score for the reader."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.corpus import Corpus
from training.data.frozen_trunk import resized
from training.loop.batch import make_batch
from training.loop.distributed import Ranks
from training.loop.objective import head_terms
from training.loop.state import State
from training.recipe import Recipe

PHOTOS = 128  # that give a score; its standard error is then 4 points or less
_BATCH = 64


@torch.no_grad()
def validate(
    recipe: Recipe, state: State, corpus: Corpus, group: Ranks | None = None, photos: int | None = None
) -> tuple[dict[str, float], float | None]:
    """The mean loss of every head on validation photos, whole and without augmentation, by `head.ID`; and the score,
    the share of right first labels, the mean over softmax heads. Heads without validation photos are left out; without
    any, the score is None. At most about `photos` are looked at, by default those of the recipe's `weighting`.
    """
    pool = np.concatenate([first + s.index("val", False) for first, s in zip(corpus.starts, corpus.sets, strict=True)])
    chosen = pool[:: max(1, len(pool) // (photos or recipe.weighting.photos))]
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    hits: dict[str, list[float]] = {}
    was_training = state.network.training
    state.network.eval()
    for start in range(0, len(chosen), _BATCH):
        numbers = chosen[start : start + _BATCH]
        out = state.network(_seen(recipe, corpus, numbers, (group or Ranks()).device))
        batch = make_batch(corpus, numbers, out)
        for name, term in head_terms(recipe, batch).items():
            counted = int(term.counted) if term.counted is not None else 0
            totals[name] = totals.get(name, 0.0) + float(term.value) * counted
            counts[name] = counts.get(name, 0) + counted
        for target in corpus.heads:
            if target.spec.kind == "softmax" and target.spec.source != "imagenet":
                labels = batch.put(target.targets)
                right = out.logits[target.spec.id].argmax(1)[labels >= 0] == labels[labels >= 0]
                hits.setdefault(target.spec.id, []).extend(right.float().tolist())
    state.network.train(was_training)
    shares = [float(np.mean(some)) for some in hits.values() if some]
    losses = {name: total / counts[name] for name, total in totals.items() if counts[name]}
    return losses, float(np.mean(shares)) if shares else None


def _seen(recipe: Recipe, corpus: Corpus, numbers: NDArray[np.int64], device: torch.device) -> Tensor:
    """What the network takes for these photos: pixels, or the features of a trunk that stays as it is."""
    if corpus.keeps_trunk:
        return corpus.placed(corpus.frozen.feature, device)[torch.from_numpy(numbers).to(device)].float()
    return resized(corpus.pixels(numbers).numpy(), recipe.size, device)


class Judge:
    """Judges a run `schedule.validations` times, at equal distances. The first rank alone does it."""

    def __init__(self, recipe: Recipe, corpus: Corpus, group: Ranks, state: State) -> None:
        self._recipe, self._corpus, self._group = recipe, corpus, group
        self._times = recipe.schedule.validations if group.first else 0
        self._done = len(state.scores)
        self.note = f" val {state.scores[-1][1]:.3f}" if state.scores else ""

    def is_due(self, done: float) -> bool:
        """Whether the run, of which the share `done` is over, should be judged now."""
        return self._done < int(done * self._times)

    def __call__(self, state: State) -> float | None:
        """The score, which is added to the state's; None if there are no validation photos."""
        score = validate(self._recipe, state, self._corpus, self._group, PHOTOS)[1]
        if score is None:
            self._times = 0
            return None
        self._done += 1
        state.scores.append((state.step, score))
        self.note = f" val {score:.3f}"
        return score
