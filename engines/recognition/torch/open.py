"""Chooses where torch computes: on the first GPU, or on the CPU where there is none."""

from __future__ import annotations

import torch

from engines.recognition.bundles.bundle import Bundle
from engines.recognition.interface import Backend
from engines.recognition.torch.cpu import TorchCpu


def open_torch(bundle: Bundle, threads: int | None, max_batch: int) -> Backend:
    """Open the bundle with torch.

    Args:
        bundle: the loaded bundle.
        threads: CPU threads for one batch; None uses all cores. A GPU ignores it.
        max_batch: the most photos of one batch; on a GPU it bounds the batch sizes that are compiled.

    Raises:
        BundleRefused: the graph uses an operator that `operators` does not have, or lacks an output.
        ConfigError: the GPU has too little memory, or cuda-bindings is not installed.
    """
    if not torch.cuda.is_available():
        return TorchCpu(bundle, threads)
    from engines.recognition.torch.gpu import open_gpu

    return open_gpu(bundle, max_batch)
