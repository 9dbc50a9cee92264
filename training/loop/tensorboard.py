"""Curves of a run for TensorBoard: `tensorboard --logdir RUN/tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Record:
    """Writes scalars under `out/tensorboard`; steps that an earlier, longer attempt wrote after `step` are hidden."""

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # seconds of import: only where a run writes

        self._writer: Any = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def add(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Scalars `group/NAME` of one step."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
