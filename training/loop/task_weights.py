"""How much each loss counts: as the recipe says, or by how high its validation loss still is."""

from __future__ import annotations

from collections.abc import Mapping


class TaskWeights:
    """Factors by name of loss, on top of the recipe's weights. All are 1 until something was observed.

    The rule is *trend*: WeChat's product recognition was described with a weight by hand for the main task, and
    weights by the trend of the validation loss for the others. The hardness of a task is the share of its first
    validation loss that is left, h = v / v₀. Its factor is h divided by the mean h of all tasks that are not `main`,
    kept between `1 / limit` and `limit`. So a task that is nearly learnt gets less weight, and one that has hardly
    begun gets more. The mean of the factors stays near 1, so that the learning rate keeps its meaning. A task without
    validation photos keeps factor 1.
    """

    def __init__(self, main: frozenset[str] = frozenset(), limit: float = 3.0, smooth: float = 0.5) -> None:
        self.main, self.limit, self.smooth = main, limit, smooth
        self.first: dict[str, float] = {}
        self.now: dict[str, float] = {}

    def observe(self, losses: Mapping[str, float]) -> None:
        """Take the losses of a validation, by name, each above 0. A running mean, with the share `smooth` of the old
        value, damps the noise."""
        for name, value in losses.items():
            self.first.setdefault(name, value)
            self.now[name] = self.smooth * self.now.get(name, value) + (1 - self.smooth) * value

    def factors(self) -> dict[str, float]:
        """Factors of the observed tasks that are not `main`."""
        hard = {name: self.now[name] / max(first, 1e-9) for name, first in self.first.items() if name not in self.main}
        if not hard:
            return {}
        mean = max(sum(hard.values()) / len(hard), 1e-9)
        return {name: min(max(h / mean, 1 / self.limit), self.limit) for name, h in hard.items()}

    def state_dict(self) -> dict[str, dict[str, float]]:
        """What a checkpoint keeps."""
        return {"first": dict(self.first), "now": dict(self.now)}

    def load_state_dict(self, saved: Mapping[str, Mapping[str, float]]) -> None:
        """Take what `state_dict` gave."""
        self.first, self.now = dict(saved["first"]), dict(saved["now"])
