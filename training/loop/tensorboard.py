"""Curves of a run for TensorBoard: `tensorboard --logdir RUN/tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Curves:
    """Writes scalars under `out/tensorboard`. TensorBoard then hides what an earlier attempt wrote after `step`."""

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds to import, so only runs that write do it

        self._writer: Any = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def add(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Write the scalars `group/NAME` of one step."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()
