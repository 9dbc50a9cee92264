"""Torch on a GPU, but for the GPU: the graph over the memory of a GPU in Python that reorders its streams.

What CUDA makes of the captured graphs is seen on a GPU alone (`benchmarks/engine/gpu_engine.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.gpu.driver import DeviceFault, OutOfDeviceMemory
from engines.gpu.overlap import Row
from engines.recognition import build_engine, engine, load_bundle
from engines.recognition.gpu_graph import prepare
from engines.recognition.torch import gpu as torch_gpu
from engines.recognition.torch.gpu import TorchGpu, mapped, profiles_to
from engines.recognition.torch.graph import Graph, load_graph
from groknet.home.config import demo_bundle
from schemas.errors import ConfigError, DeviceLost
from tests.engines.fake_gpu import FakeDriver, Operation
from tests.engines.tiny_bundle import SIZE

PHOTOS = np.random.default_rng(7).integers(0, 256, (11, SIZE, SIZE, 3), dtype=np.uint8)


class FakeDevice:
    """The fake driver's memory as tensors; a captured body runs when its stream does."""

    name = "cpu"

    def __init__(self, driver: FakeDriver, room: int = 10**9) -> None:
        self.driver, self.room = driver, room
        self.captured_bodies = 0

    def tensor(self, address: int, row: Row, photos: int) -> torch.Tensor:
        if row.name == "photos" and photos > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        memory = self.driver.at(address, photos * row.size).view(row.dtype)
        return torch.from_numpy(memory.reshape(photos, *row.shape))

    def captured(self, body: Callable[[], None], stream: int) -> Callable[[], None]:
        self.captured_bodies += 1
        return lambda: self.driver.put(stream, Operation("compute", body))


def opened(folder: Path, max_batch: int, seed: int = 0, room: int = 10**9) -> tuple[TorchGpu, FakeDevice]:
    device = FakeDevice(FakeDriver(seed=seed), room)
    return TorchGpu(load_bundle(folder), device.driver, device, profiles_to(max_batch)), device


@pytest.mark.parametrize("seed", range(3))
def test_every_size_gives_what_onnx_runtime_gives(tiny: Path, seed: int) -> None:
    backend, device = opened(tiny, 4, seed)
    expected = engine.open_backend(load_bundle(tiny), "onnxruntime").run(PHOTOS)
    for count in (1, 3, 4, 11, 2):  # below, between and beyond the profiles of 2 and 4
        found = backend.run(PHOTOS[:count])
        for name, rows in found.items():
            if name in expected:
                np.testing.assert_allclose(rows, expected[name][:count], atol=1e-5, err_msg=name)
    assert device.captured_bodies == 4  # two profiles on two streams
    backend.close()
    assert device.driver.blocks == {}


def test_long_heads_come_back_as_their_best_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    monkeypatch.setattr(torch_gpu, "open_driver", lambda: driver)
    monkeypatch.setattr(torch_gpu, "Cuda", lambda: FakeDevice(driver))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    ours, theirs = build_engine(demo_bundle(), "torch", max_batch=4), build_engine(demo_bundle())
    photos = load_bundle(demo_bundle()).photos[:3]
    mine, reference = ours.infer(photos), theirs.infer(photos)
    np.testing.assert_array_equal(mine.hash, reference.hash)
    for head, found in reference.heads.items():
        np.testing.assert_array_equal(mine.heads[head].labels, found.labels)
        np.testing.assert_allclose(mine.heads[head].probabilities, found.probabilities, atol=1e-4)


def test_profiles_reach_what_is_asked_for() -> None:
    assert [profiles_to(n).batches for n in (1, 8, 20, 128, 5000)] == [
        (2,),
        (2, 8),
        (2, 8, 20),
        (2, 8, 32, 128),
        (2, 8, 32, 1024),
    ]


def test_out_of_memory_leaves_the_largest_profile_out_once(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend, device = opened(tiny, 20, room=8)
    assert "no room for 20 photos" in caplog.text
    assert "continuing with 8" in caplog.text
    expected = engine.open_backend(load_bundle(tiny), "onnxruntime").run(PHOTOS)
    np.testing.assert_allclose(backend.run(PHOTOS)["embedding"], expected["embedding"], atol=1e-5)
    backend.close()
    assert device.driver.blocks == {}
    with pytest.raises(ConfigError, match="no room for 8 photos either"):
        opened(tiny, 20, room=2)


@pytest.mark.parametrize(("code", "kind"), [(700, DeviceLost), (719, DeviceLost), (None, DeviceLost), (9, DeviceFault)])
def test_whether_the_device_is_lost(code: int | None, kind: type[Exception]) -> None:
    """Codes as torch attaches them: 700 and 719 last, 9 (an invalid configuration) does not, none is taken to last."""
    error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore lines")
    if code is not None:
        error.error_code = code
    with pytest.raises(kind, match="torch: CUDA error: an illegal memory access was encountered"), mapped():
        raise error
    with pytest.raises(OutOfDeviceMemory, match="torch: CUDA out of memory"), mapped():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore lines")


@pytest.mark.slow
def test_the_compiler_sees_one_graph() -> None:
    """Split into many, it would fuse nothing."""
    bundle = load_bundle(demo_bundle())
    model = prepare(load_graph(bundle), bundle.manifest)
    graph = Graph(model, [value.name for value in model.graph.output]).eval()
    side = bundle.manifest.preprocess.height
    with torch.inference_mode():
        told = torch._dynamo.explain(graph)(torch.zeros(2, side, side, 3, dtype=torch.uint8))
    assert (told.graph_count, told.graph_break_count) == (1, 0)


def test_where_nothing_compiles_the_graph_runs_as_it_is(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compiler(_: object) -> Callable[[torch.Tensor], object]:
        def fails(_: torch.Tensor) -> object:
            raise RuntimeError("Failed to find C compiler\nmore lines")

        return fails

    bundle = load_bundle(tiny)
    graph = Graph(load_graph(bundle), list(bundle.outputs))
    monkeypatch.setattr(torch, "compile", compiler)
    with caplog.at_level(logging.WARNING):
        assert torch_gpu._compiled(graph, torch.from_numpy(PHOTOS[:2])) is graph
    assert "cannot compile the graph (RuntimeError: Failed to find C compiler); it runs uncompiled" in caplog.text
