"""The whole TensorRT back end but for the GPU: a plan that was built for real, read, and run by ONNX Runtime in its
place on a GPU in Python. Predictions are those of the bundle on a CPU."""

from __future__ import annotations

import dataclasses
import platform
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from engines.gpu.profiles import Profiles
from engines.recognition import RecognitionEngine, build_engine, load_bundle
from engines.recognition.gpu_graph import prepare
from engines.recognition.tensorrt import backend
from engines.recognition.tensorrt.build import build
from engines.recognition.tensorrt.cache import FOLDER, EngineCache
from engines.recognition.tensorrt.library import Library, load_library
from groknet.home.config import demo_bundle
from schemas.errors import BundleRefused
from schemas.manifest import MANIFEST_FILE
from tests.engines.fake_gpu import FakeDriver, Operation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="TensorRT for RTX is published for Linux and Windows on x86-64",
    ),
]


class Context:
    """An execution context whose network ONNX Runtime computes, over the fake GPU's memory."""

    def __init__(self, driver: FakeDriver, session: ort.InferenceSession) -> None:
        self._driver, self._session = driver, session
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()

    def set_optimization_profile_async(self, place: int, stream: int) -> bool:
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = shape
        return name == "photos"

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return address % 256 == 0

    def execute_async_v3(self, stream: int) -> bool:
        def act() -> None:
            size = int(np.prod(self._shape))
            photos = self._driver.at(self._addresses["photos"], size).reshape(self._shape)
            names = [value.name for value in self._session.get_outputs()]
            for name, rows in zip(names, self._session.run(names, {"photos": photos}), strict=True):
                self._driver.at(self._addresses[name], rows.nbytes)[:] = (
                    np.ascontiguousarray(rows).view(np.uint8).ravel()
                )

        self._driver.put(stream, Operation("compute", act))
        return True


class Config:
    """The runtime configuration's calls; `set_runtime_cache` takes what `create_runtime_cache` gave."""

    dynamic_shapes_kernel_specialization_strategy: Any = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> object:
        return object()

    def set_runtime_cache(self, cache: object) -> bool:
        return cache is not None


def on_fake_gpu(folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """Have the back end find the fake GPU, and the library read plans for it."""
    driver = FakeDriver(has_graphs=True)
    bundle = load_bundle(folder)
    graph = prepare(onnx.load(bundle.model_path), bundle.manifest).SerializeToString()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    plans = {EngineCache(folder / FOLDER).read(plan) for plan in EngineCache(folder / FOLDER).manifests().values()}
    plan = SimpleNamespace(
        create_runtime_config=Config, create_execution_context=lambda config: Context(driver, session)
    )
    trt = library.module
    module = SimpleNamespace(
        Runtime=lambda log: SimpleNamespace(deserialize_cuda_engine=lambda data: plan if data in plans else None),
        ComputeCapability=trt.ComputeCapability,
        ExecutionContextAllocationStrategy=trt.ExecutionContextAllocationStrategy,
        DynamicShapesKernelSpecializationStrategy=trt.DynamicShapesKernelSpecializationStrategy,
    )
    monkeypatch.setattr(backend, "open_driver", lambda: driver)
    monkeypatch.setattr(backend, "load_library", lambda name: dataclasses.replace(library, module=module))
    return driver


def add_engine(folder: Path) -> None:
    """Of small profiles, beside the bundle."""
    library = load_library("tensorrt_rtx")
    build(load_bundle(folder), library, folder / FOLDER, profiles=Profiles((1, 4)), target="portable")


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo bundle, whose long heads send their best labels alone."""
    source = load_bundle(demo_bundle())
    for name in (MANIFEST_FILE, *source.manifest.files):
        (tmp_path / name).write_bytes((source.folder / name).read_bytes())
    return tmp_path


def assert_same(ours: RecognitionEngine, theirs: RecognitionEngine, photos: np.ndarray) -> None:
    mine, reference = ours.infer(photos), theirs.infer(photos)
    np.testing.assert_array_equal(mine.hash, reference.hash)
    np.testing.assert_allclose(mine.embedding, reference.embedding, atol=1e-5)
    for head, found in reference.heads.items():
        np.testing.assert_array_equal(mine.heads[head].labels, found.labels)
        np.testing.assert_allclose(mine.heads[head].probabilities, found.probabilities, atol=1e-4)
        np.testing.assert_array_equal(mine.heads[head].offered, found.offered)


def test_predictions_are_those_of_the_cpu(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_engine(demo)
    driver = on_fake_gpu(demo, load_library("tensorrt_rtx"), monkeypatch)
    ours, theirs = build_engine(demo, "tensorrt_rtx"), build_engine(demo)
    photos = load_bundle(demo).photos
    for count in (1, 3, 6):
        assert_same(ours, theirs, photos[:count])
    ours.close()
    theirs.close()
    assert driver.blocks == {}


def test_an_engine_of_another_version_never_reaches_the_library(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_engine(tiny)
    library = load_library("tensorrt_rtx")
    on_fake_gpu(tiny, dataclasses.replace(library, version="2.0"), monkeypatch)
    with pytest.raises(BundleRefused, match=r"library_version: built with .*, and 2\.0 is installed"):
        build_engine(tiny, "tensorrt_rtx")


def test_a_plan_that_the_library_does_not_read(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the portable plan may be on a GPU that the library does not know."""
    add_engine(tiny)
    on_fake_gpu(tiny, load_library("tensorrt_rtx"), monkeypatch)
    monkeypatch.setattr(EngineCache, "read", lambda self, manifest: b"another")
    with pytest.raises(BundleRefused, match=r"engine [0-9a-f]{16}: tensorrt_rtx .* refused"):
        build_engine(tiny, "tensorrt_rtx")


def test_without_an_engine_beside_it_one_is_built_into_the_cache_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    library = load_library("tensorrt_rtx")
    bundle, device = load_bundle(tiny), FakeDriver().device()
    cache, key, engine = backend.find_or_build(bundle, library, device)
    assert cache.folder == tmp_path / "cache/groknet/engines" / bundle.manifest.model_version
    assert engine.batches == Profiles()
    again, same, found = backend.find_or_build(bundle, library, device)
    assert (again.folder, same, found) == (cache.folder, key, engine)
