"""Two batches at once on a GPU that reorders all that CUDA allows it to: nothing is mixed up, reused early or lost."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest

from engines.gpu.driver import DeviceFault, OutOfDeviceMemory, failure
from engines.gpu.overlap import SLOTS, Enqueue, Overlap
from engines.gpu.profiles import Profiles, open_profiles
from engines.recognition.tensorrt.execution import Execution
from engines.recognition.tensorrt.library import Library
from schemas.errors import ConfigError, DeviceLost
from tests.engines.fake_gpu import OUTPUTS, PHOTOS, SHAPE, FakeDriver, FakeEngine, naive, threads

PROFILES = Profiles((1, 4, 8))


def library(last: str = "") -> Library:
    return Library("tensorrt_rtx", "1", None, SimpleNamespace(last=last))


def overlap(
    driver: FakeDriver, profiles: Profiles = PROFILES, engine: FakeEngine | None = None, last: str = ""
) -> Overlap:
    engine = engine or FakeEngine(driver)

    def compute(stream: int, addresses: Mapping[str, int]) -> Enqueue:
        return Execution(
            library(last),
            engine.create_execution_context,
            profiles,
            PHOTOS,
            driver=driver,
            stream=stream,
            addresses=addresses,
        )

    return Overlap(driver, PHOTOS, OUTPUTS, profiles.largest, compute)


def photos(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


def assert_right(found: Mapping[str, np.ndarray], batch: np.ndarray) -> None:
    for name, rows in naive(batch).items():
        np.testing.assert_array_equal(found[name], rows)


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_every_size_in_any_order_of_the_streams(seed: int, graphs: bool) -> None:
    """Sizes of one profile, between profiles, and of several parts, one after the other in reused buffers."""
    running = overlap(FakeDriver(seed=seed, has_graphs=graphs))
    for i, count in enumerate([1, 3, 4, 8, 7, 20, 1, 33, 8, 2]):
        batch = photos(count, seed * 100 + i)
        assert_right(running.run(batch), batch)


@pytest.mark.parametrize("seed", range(3))
def test_several_callers_get_their_own(seed: int) -> None:
    running = overlap(FakeDriver(seed=seed, has_graphs=True))

    def call(caller: int) -> None:
        for i in range(15):
            batch = photos(1 + (7 * caller + 5 * i) % 19, 1000 * caller + i)
            assert_right(running.run(batch), batch)

    with threads(4, call) as raised:
        pass
    assert raised == []


def test_a_copy_goes_on_beside_a_compute() -> None:
    """On a GPU whose copy engines are quick, the second part is there before the first is computed."""
    driver = FakeDriver(prefer="in")
    running = overlap(driver)
    driver.log.clear()
    running.run(photos(16, 0))
    work = [kind for kind in driver.log if kind in ("in", "compute", "out")]
    assert work[:2] == ["in", "in"]
    assert sorted(work) == ["compute", "compute", "in", "in", "out", "out"]


def test_computes_wait_for_each_other() -> None:
    """On a GPU that would compute first, the second compute still comes after the first has happened."""
    driver = FakeDriver(prefer="compute", seed=3)
    running = overlap(driver)
    driver.log.clear()
    running.run(photos(8 * 6, 0))
    chain = [kind for kind in driver.log if kind in ("compute", "wait", "record")]
    first, second = [i for i, kind in enumerate(chain) if kind == "compute"][:2]
    assert "record" in chain[first:second]


def test_each_part_is_one_launch_at_a_profile_size() -> None:
    driver = FakeDriver(has_graphs=True)
    running = overlap(driver)
    for count, launches, computed in ((8, 1, [8]), (7, 2, [8]), (1, 3, [1]), (3, 4, [4]), (11, 6, [8, 4])):
        driver.sizes.clear()
        batch = photos(count, count)
        assert_right(running.run(batch), batch)
        assert driver.launches == launches
        assert driver.sizes == computed


def test_a_network_that_cannot_be_captured_is_enqueued() -> None:
    driver = FakeDriver(has_graphs=True)
    running = overlap(driver, engine=FakeEngine(driver, refuse_capture=True))
    assert_right(running.run(photos(8, 1)), photos(8, 1))
    assert driver.launches == 0


def test_a_lost_device_stays_lost_for_all_who_wait() -> None:
    driver = FakeDriver()
    running = overlap(driver)
    driver.fault = failure("cuEventSynchronize", 700, "an illegal memory access was encountered")
    with threads(6, lambda i: assert_right(running.run(photos(2, i)), photos(2, i))) as raised:
        pass
    assert [type(error) for error in raised] == [DeviceLost] * 6
    driver.fault = None
    with pytest.raises(DeviceLost, match=r"illegal memory access.*process ends"):
        running.run(photos(1, 0))


def test_closing_gives_all_memory_back() -> None:
    driver = FakeDriver()
    running = overlap(driver)
    running.run(photos(3, 0))
    running.close()
    running.close()
    assert driver.blocks == {}
    with pytest.raises(RuntimeError, match="closed"):
        running.run(photos(1, 0))


def needed(profiles: Profiles) -> int:
    driver = FakeDriver()
    overlap(driver, profiles)
    return sum(block.nbytes for block in driver.blocks.values())


def test_out_of_memory_leaves_the_largest_profile_out_once(caplog: pytest.LogCaptureFixture) -> None:
    driver = FakeDriver(memory=needed(PROFILES) - 1)
    running = open_profiles(PROFILES, lambda profiles: overlap(driver, profiles))
    assert running.largest == 4
    assert "no room for 8 photos" in caplog.text
    assert_right(running.run(photos(8, 0)), photos(8, 0))  # in two parts
    running.close()
    assert driver.blocks == {}


def test_out_of_memory_twice_is_loud() -> None:
    driver = FakeDriver(memory=needed(Profiles((1, 4))) - 1)
    with pytest.raises(ConfigError, match=r"no room for 4 photos either.*--batch 1,4"):
        open_profiles(PROFILES, lambda profiles: overlap(driver, profiles))
    assert driver.blocks == {}
    with pytest.raises(ConfigError, match="no room for 8 photos"):
        open_profiles(Profiles((8,)), lambda profiles: overlap(driver, profiles))


def test_a_context_that_is_none_tells_why() -> None:
    """TensorRT returns None; its last line decides between out of memory and a fault."""
    for last, error in (("Out of memory allocating 8 bytes", OutOfDeviceMemory), ("bad plan", DeviceFault)):
        driver = FakeDriver()
        with pytest.raises(error, match=last):
            overlap(driver, engine=FakeEngine(driver, contexts=SLOTS * len(PROFILES.batches) - 1), last=last)
        assert driver.blocks == {}
