"""The TensorRT back end: finds or builds a plan for this GPU, opens it and runs it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.gpu.driver import Device, Driver
from engines.gpu.open import open_driver
from engines.gpu.overlap import Enqueue, Overlap, Row
from engines.gpu.profiles import Profiles, open_profiles
from engines.recognition.interface import GraphBundle
from engines.recognition.tensorrt.build import build
from engines.recognition.tensorrt.cache import FOLDER, EngineCache, default_cache
from engines.recognition.tensorrt.execution import Execution
from engines.recognition.tensorrt.library import Library, load_library
from engines.recognition.tensorrt.manifest import EngineManifest, cache_key
from engines.recognition.tensorrt.plan import PORTABLE, THIS_GPU, targets
from schemas.errors import DeviceLost

_log = logging.getLogger(__name__)


class TensorRt:
    """See `Backend`. One plan on one GPU, two batches at a time.

    If memory runs out while it opens, it leaves out the largest profile, once. Larger batches then run in parts.
    """

    def __init__(self, bundle: GraphBundle, library: Library, driver: Driver) -> None:
        """
        Raises:
            BundleRefused: the bundle has plans and none fits, or the library refuses the graph or the plan.
            ConfigError: the GPU has no room for the second largest profile either.
            DeviceLost, DeviceFault: the GPU failed.
        """
        self._library, self._driver = library, driver
        self.cache, self.key, self.engine = find_or_build(bundle, library, driver.device())
        self._runtime = library.module.Runtime(library.log)
        plan = self._runtime.deserialize_cuda_engine(self.cache.read(self.engine))
        if plan is None:
            raise library.refused(f"engine {self.key}")
        self._overlap = open_profiles(self.engine.batches, lambda profiles: self._open(plan, profiles))

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """Compute the raw outputs of uint8 [n, h, w, 3]; see `Backend.run`."""
        return self._overlap.run(photos)

    def close(self) -> None:
        """See `Backend.close`."""
        with suppress(DeviceLost):  # then there is nothing to free
            with self._driver.current():
                self._overlap.close()
                del self._overlap, self._runtime  # free their memory before its context
            self._driver.close()

    def _open(self, plan: Any, profiles: Profiles) -> Overlap:
        rows = [Row(t.name, np.dtype(t.dtype), tuple(t.shape[1:])) for t in self.engine.tensors if t.mode == "output"]
        photos = next(
            Row(t.name, np.dtype(t.dtype), tuple(t.shape[1:])) for t in self.engine.tensors if t.mode == "input"
        )
        new_context = context_maker(self._library, plan)

        def compute(stream: int, addresses: Mapping[str, int]) -> Enqueue:
            return Execution(
                self._library, new_context, profiles, photos, driver=self._driver, stream=stream, addresses=addresses
            )

        return Overlap(self._driver, photos, rows, profiles.largest, compute)


def context_maker(library: Library, plan: Any) -> Callable[[], Any]:
    """Return what makes execution contexts. A context allocates memory for its own profile only.

    TensorRT for RTX compiles kernels on the GPU. The contexts compile all of them at once, because a CUDA graph would
    keep a stand-in kernel for ever.
    """
    trt = library.module
    own_profile = trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
    if library.name == "tensorrt":
        return lambda: plan.create_execution_context(own_profile)
    config = plan.create_runtime_config()
    config.set_execution_context_allocation_strategy(own_profile)
    config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    config.set_runtime_cache(config.create_runtime_cache())  # the second slot reuses the first one's kernels
    return lambda: plan.create_execution_context(config)


def open_backend(bundle: GraphBundle, name: str) -> TensorRt:
    """Open `tensorrt` or `tensorrt_rtx` on the first GPU that CUDA_VISIBLE_DEVICES leaves. Raises ConfigError if the
    library or the GPU is missing, otherwise as `TensorRt`."""
    library = load_library(name)
    driver = open_driver()
    try:
        with driver.current():
            return TensorRt(bundle, library, driver)
    except BaseException:
        driver.close()
        raise


def find_or_build(bundle: GraphBundle, library: Library, device: Device) -> tuple[EngineCache, str, EngineManifest]:
    """Return a plan from the bundle's folder, or else from this machine's cache, or else build one there."""
    beside = EngineCache(bundle.folder / FOLDER)
    found = beside.choose(library, device, bundle)
    if found is not None:
        return beside, *found
    manifest, profiles = bundle.manifest, Profiles()
    cache = EngineCache(default_cache() / manifest.model_version)
    target = PORTABLE if PORTABLE in targets(library) else THIS_GPU
    built_on = device if target == THIS_GPU else None
    key = cache_key(library, manifest, profiles, target=target, device=built_on)
    there = cache.manifests().get(key)
    if there is not None:
        return cache, key, there
    _log.info("building a %s engine of %s for %s", library.name, manifest.model_version, device.name)
    return cache, *build(bundle, library, cache.folder, profiles=profiles, target=target, device=built_on)
