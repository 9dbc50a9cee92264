"""Several processes as one: torchrun starts them, each has its share of the batch, all see all pairs.

Gradients come out as one process with the whole batch would have them. `DistributedDataParallel` averages them over
ranks, so a loss of gathered rows (the same number on every rank) is right as it is, and a mean over a rank's own photos
is scaled by that rank's part of all photos that count (`fair`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """Which process this is of how many, and the device it computes on."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints, logs and the progress bar."""
        return self.rank == 0


@contextmanager
def ranks(device: str = "cpu") -> Iterator[Ranks]:
    """The process group that torchrun set up, or this process alone; left again at the end.

    `device` `cpu` or `cuda`; on `cuda` each process takes the GPU of its local rank and talks through NCCL, else Gloo.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local) if device == "cuda" else torch.device("cpu")
    if device == "cuda":
        torch.cuda.set_device(place)
    if not dist.is_torchelastic_launched():
        yield Ranks(device=place)
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """All ranks' rows; backward sums what every rank's loss asks of this rank's rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        return _rows(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total.narrow(0, dist.get_rank() * ctx.rows, ctx.rows)


def _rows(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


def gather(x: Tensor) -> Tensor:
    """`[n, …]` of this rank → `[ranks · n, …]` of all, in rank order and with gradients; every rank must have n rows.

    Without a process group `x` itself.
    """
    if not dist.is_initialized():
        return x
    if not x.requires_grad:
        return _rows(x)
    gathered: Tensor = _Gather.apply(x)
    return gathered


def fair(counts: Tensor) -> Tensor:
    """`counts float [k]` photos that count in each of k means here → factors `[k]`: own count / mean count of a rank.

    A mean over this rank's photos times its factor, averaged over ranks, is the mean over all ranks' photos.
    """
    if not dist.is_initialized():
        return torch.ones_like(counts)
    total = counts.clone()
    dist.all_reduce(total)
    return counts * dist.get_world_size() / total.clamp(min=1)
