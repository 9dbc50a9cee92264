"""TensorRT for RTX as a library: found with what runs its engines, or missed by name."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from engines.recognition.tensorrt.library import Library, load_library
from schemas.errors import ConfigError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="TensorRT for RTX is published for Linux and Windows on x86-64",
    ),
]


def test_what_runs_an_engine_is_there(library: Library) -> None:
    """Names that are first used on a GPU exist in the library that is installed."""
    trt = library.module
    used = {
        trt.Runtime: ("deserialize_cuda_engine",),
        trt.ICudaEngine: ("create_execution_context", "create_runtime_config"),
        trt.IRuntimeConfig: (
            "create_runtime_cache",
            "dynamic_shapes_kernel_specialization_strategy",
            "set_execution_context_allocation_strategy",
            "set_runtime_cache",
        ),
        trt.IExecutionContext: (
            "execute_async_v3",
            "set_input_shape",
            "set_optimization_profile_async",
            "set_tensor_address",
        ),
        trt.ExecutionContextAllocationStrategy: ("ON_PROFILE_CHANGE",),
        trt.DynamicShapesKernelSpecializationStrategy: ("EAGER",),
    }
    for kind, names in used.items():
        assert set(names) <= set(dir(kind))


def test_a_library_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="not one of"):
        load_library("cudnn")
    if not any((Path(folder) / "tensorrt").exists() for folder in sys.path):
        with pytest.raises(ConfigError, match="NVIDIA's documentation"):
            load_library("tensorrt")
