"""Several processes as one: torchrun starts them, each has its share of the batch, all see all pairs.

Gradients come out as one process with the whole batch would have them. `DistributedDataParallel` averages them over
ranks, so a loss of gathered rows (the same number on every rank) is right as it is, and a mean over a rank's own photos
is scaled by that rank's part of all photos that count (`fair`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Made = TypeVar("Made")
PATIENCE = timedelta(hours=12)  # the others wait while the first rank decodes the photos


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
def ranks(device: str = "auto") -> Iterator[Ranks]:
    """The process group that torchrun set up, or this process alone; left again at the end.

    `device` `auto`, `cpu` or `cuda`; on `cuda`, which `auto` is where there is a GPU, each process takes the GPU of its
    local rank and talks through NCCL, else Gloo.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    if device == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if not dist.is_torchelastic_launched():
        yield Ranks(device=place)
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
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
        total = gradients[0].clone(memory_format=torch.contiguous_format)  # autograd may share the one it gave
        dist.all_reduce(total)
        return total.narrow(0, dist.get_rank() * ctx.rows, ctx.rows)


def agree(value: float) -> float:
    """The first rank's value, on every rank: clocks differ."""
    if not dist.is_initialized():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)


def first_first(work: Callable[[], Made]) -> Made:
    """`work` on the first rank, then on the others, which find what it left in the cache."""
    if dist.is_initialized() and dist.get_rank() > 0:
        dist.barrier()
    made = work()
    if dist.is_initialized() and dist.get_rank() == 0:
        dist.barrier()
    return made


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


def several() -> bool:
    """Whether there is a process group."""
    return dist.is_initialized()


def fair(counts: Tensor) -> Tensor:
    """`counts float [k]` photos that count in each of k means here → factors `[k]`: own count / mean count of a rank.

    A mean over this rank's photos times its factor, averaged over ranks, is the mean over all ranks' photos.
    """
    total = counts.clone()
    dist.all_reduce(total)
    return counts * dist.get_world_size() / total.clamp(min=1)
