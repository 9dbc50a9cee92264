"""How much each loss counts: as the recipe says, or by how its validation loss goes."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean


class TaskWeights:
    """Factors by name of loss, on top of the recipe's weights. All are 1 until enough was observed.

    The rule is *trend*, the validation-loss trend of He et al. (ACM MM 2017, algorithm 1), by which WeChat's product
    recognition weighs its side tasks, while the main task's weight is set by hand. Of each task that is not `main`,
    the last `window` validation losses have the mean `now` and the `window` before them the mean `before`:

        fluctuation   f = |now − before| / now,   divided by its mean over the tasks
        height        h = now,                    divided by its mean over the tasks
        factor        f · h,                      divided by its mean over the tasks

    So a task counts more while its loss is high and still moves, and less once it is learnt or has stopped. The mean of
    the factors stays 1, so that the learning rate keeps its meaning; after that each is kept between `1 / limit` and
    `limit`. A task without validation photos keeps factor 1. Where no loss moves, the heights alone count.
    """

    def __init__(self, main: frozenset[str] = frozenset(), limit: float = 3.0, window: int = 2) -> None:
        self.main, self.limit, self.window = main, limit, window
        self.losses: dict[str, list[float]] = {}

    def observe(self, losses: Mapping[str, float]) -> None:
        """Take the losses of a validation, by name, each above 0."""
        for name, value in losses.items():
            self.losses[name] = [*self.losses.get(name, []), value][-2 * self.window :]

    def factors(self) -> dict[str, float]:
        """Factors of the observed tasks that are not `main`; none before each was observed `2 · window` times."""
        seen = {name: values for name, values in self.losses.items() if name not in self.main}
        if not seen or any(len(values) < 2 * self.window for values in seen.values()):
            return {}
        before = {name: fmean(values[: self.window]) for name, values in seen.items()}
        now = {name: fmean(values[self.window :]) for name, values in seen.items()}
        fluctuation = _over_mean({name: abs(now[name] - before[name]) / max(now[name], 1e-9) for name in seen})
        height = _over_mean(now)
        found = _over_mean({name: fluctuation[name] * height[name] for name in seen})
        return {name: min(max(value, 1 / self.limit), self.limit) for name, value in found.items()}

    def state_dict(self) -> dict[str, list[float]]:
        """What a checkpoint keeps."""
        return {name: list(values) for name, values in self.losses.items()}

    def load_state_dict(self, saved: Mapping[str, object]) -> None:
        """Take what `state_dict` gave. A checkpoint of an older version kept something else; then the rule begins
        anew."""
        self.losses = {name: list(values) for name, values in saved.items() if isinstance(values, list)}


def _over_mean(values: Mapping[str, float]) -> dict[str, float]:
    """Each value divided by their mean; all 1 where the mean is 0."""
    mean = fmean(values.values())
    return {name: value / mean if mean > 0 else 1.0 for name, value in values.items()}
