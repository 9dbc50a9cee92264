"""How much each loss counts: as the recipe says, or by how hard each task still is on validation photos."""

from __future__ import annotations

from collections.abc import Mapping


class TaskWeights:
    """Factors by name of loss, beside the recipe's own weights; all 1 until something was observed.

    The rule *trend* (as WeChat's product recognition was described: the main task's weight by hand, the others' by the
    trend of their validation loss): a task is as hard as the share of its first validation loss that it still has,
    h = v / v₀, and its factor is h divided by the mean h of all tasks that are not `main`, kept within `1 / limit` and
    `limit`. A task that has learnt most of what it can gives way, one that has hardly begun is pushed; the factors'
    mean stays near 1, so that the learning rate keeps its meaning. A task without validation photos keeps factor 1.
    """

    def __init__(self, main: frozenset[str] = frozenset(), limit: float = 3.0, smooth: float = 0.5) -> None:
        self.main, self.limit, self.smooth = main, limit, smooth
        self.first: dict[str, float] = {}
        self.now: dict[str, float] = {}

    def observe(self, losses: Mapping[str, float]) -> None:
        """Take in a validation: losses by name, each > 0; a running mean (`smooth` of the old) damps the noise."""
        for name, value in losses.items():
            self.first.setdefault(name, value)
            self.now[name] = self.smooth * self.now.get(name, value) + (1 - self.smooth) * value

    def factors(self) -> dict[str, float]:
        """Factors of the observed tasks that are not main."""
        hard = {name: self.now[name] / max(first, 1e-9) for name, first in self.first.items() if name not in self.main}
        if not hard:
            return {}
        mean = max(sum(hard.values()) / len(hard), 1e-9)
        return {name: min(max(h / mean, 1 / self.limit), self.limit) for name, h in hard.items()}

    def state_dict(self) -> dict[str, dict[str, float]]:
        """What a checkpoint keeps."""
        return {"first": dict(self.first), "now": dict(self.now)}

    def load_state_dict(self, saved: Mapping[str, Mapping[str, float]]) -> None:
        """The reverse of `state_dict`."""
        self.first, self.now = dict(saved["first"]), dict(saved["now"])
