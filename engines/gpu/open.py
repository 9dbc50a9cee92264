"""Opens the GPU through whichever CUDA binding works here."""

from __future__ import annotations

from engines.gpu.driver import Driver
from schemas.errors import ConfigError


def open_driver(device: int = 0) -> Driver:
    """Open a GPU with cuda-bindings, which has CUDA graphs, or else with pycuda.

    Args:
        device: the GPU's number among those that CUDA_VISIBLE_DEVICES leaves.

    Raises:
        ConfigError: neither package gives that device; the message has both reasons.
    """
    reasons = []
    for load in (_bindings, _pycuda):
        try:
            return load(device)
        except ConfigError as error:
            reasons.append(str(error))
    raise ConfigError(f"backend: no GPU can be used here ({'; '.join(reasons)})")


def _bindings(device: int) -> Driver:
    try:
        from engines.gpu.cuda_bindings import CudaBindings
    except ImportError as error:
        raise ConfigError(f"cuda-bindings: {error}") from None
    return CudaBindings(device)


def _pycuda(device: int) -> Driver:
    try:
        from engines.gpu.pycuda_driver import PyCuda
    except ImportError as error:
        raise ConfigError(f"pycuda: {error}") from None
    return PyCuda(device)
