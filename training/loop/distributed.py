"""Several processes that act as one. torchrun starts them; each has its share of the batch, and all see all pairs.

The gradients are those of one process with the whole batch. `DistributedDataParallel` averages gradients over ranks.
A loss of gathered rows has the same value on every rank, so the average is right. A mean over a rank's own photos is
first scaled by that rank's part of all photos that count (`fair`).
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
PATIENCE = timedelta(hours=12)  # the other ranks wait while the first one decodes the photos


@dataclass(frozen=True)
class Ranks:
    """This process: its rank among `size` processes, and the device it computes on."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints, logs and the progress bar."""
        return self.rank == 0


@contextmanager
def ranks(device: str = "auto") -> Iterator[Ranks]:
    """Join the process group that torchrun set up, if any, and leave it at the end of the block.

    `device` is `cpu`, `cuda`, or `auto`, which means `cuda` where there is a GPU. On `cuda` each process takes the GPU
    of its local rank, and they communicate by NCCL; on `cpu`, by Gloo.
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
    """All ranks' rows. The gradient of this rank's rows is the sum of the gradients on all ranks."""

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
    """The first rank's value, on every rank. Ranks must not decide by their own clocks, which differ."""
    if not dist.is_initialized():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)


def first_first(work: Callable[[], Made]) -> Made:
    """Do `work` on the first rank, then on the other ranks, which find its results in the cache."""
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
    """This rank's rows `[n, …]` → all ranks' rows `[ranks · n, …]` of the same dtype, in rank order and with gradients.

    Every rank must have n rows. Without a process group the result is `x` itself.
    """
    if not dist.is_initialized():
        return x
    if not x.requires_grad:
        return _rows(x)
    gathered: Tensor = _Gather.apply(x)
    return gathered


def several() -> bool:
    """Whether this process belongs to a group."""
    return dist.is_initialized()


def fair(counts: Tensor) -> Tensor:
    """`counts float [k]`, how many photos each of k means is over on this rank → factors `[k]`.

    A factor is this rank's count divided by the mean count of a rank. Means times their factors, averaged over ranks,
    are the means over all ranks' photos.
    """
    total = counts.clone()
    dist.all_reduce(total)
    return counts * dist.get_world_size() / total.clamp(min=1)
