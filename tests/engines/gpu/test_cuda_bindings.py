"""cuda-bindings for real, over a CUDA driver in host memory that is compiled for the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or COMPILER is None, reason="compiles a stand-in for libcuda.so.1: Linux, and a C compiler"
)

SCRIPT = """
import gc
import threading
import numpy as np
from engines.gpu.driver import OutOfDeviceMemory
from engines.gpu.open import open_driver

driver = open_driver()
print(type(driver).__name__, driver.device().name, driver.device().capability)
with driver.current():
    first, second, event = driver.stream(), driver.stream(), driver.event()
    address, there, back = driver.allocate(1000), driver.pinned(1000), driver.pinned(1000)
there[:] = np.arange(1000) % 251

def copy():
    back[:] = 255
    with driver.current(), driver.current():
        driver.copy_in(address, there[:500], first)
        driver.record(event, first)
        driver.wait(second, event)
        driver.copy_out(back[:500], address, second)
        driver.synchronize(event)
    print((back[:500] == there[:500]).all(), (back[500:] == 255).all())

thread = threading.Thread(target=copy)
thread.start()
thread.join()
copy()
with driver.current():
    if driver.has_graphs:
        driver.begin_capture(first)
        driver.launch(driver.end_capture(first), second)
    try:
        driver.allocate(2 * 10**9)
    except OutOfDeviceMemory as error:
        print(error)
    try:
        driver.check()
    except Exception as error:
        print(type(error).__name__, error)
    driver.release(address)
    del there, back
    gc.collect()
driver.close()
"""


@pytest.fixture(scope="module")
def libcuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("cuda.bindings")
    folder = tmp_path_factory.mktemp("libcuda")
    library = folder / "libcuda.so.1"
    options = ["-shared", "-fPIC", "-w", "-D_GNU_SOURCE", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([COMPILER, *options, "-o", library, HERE / "libcuda.c", "-ldl"], check=True)
    return folder


AVERAGE = """
import numpy as np
from PIL import Image
from engines.pixels._average import Average
from engines.gpu.cuda_bindings import CudaBindings

average = Average(CudaBindings(0))
random = np.random.default_rng(0)
for sizes in ([(64, 48, 4)], [(7, 5, 2), (600, 800, 2), (1, 1, 8), (33, 100, 8), (50, 31, 1)], [(9, 9, 4)] * 3):
    photos, expected = [], []
    for height, width, scale in sizes:
        rows = random.integers(0, 256, (height, 3 * width + 20), np.uint8)  # further apart than they are long
        photo = np.lib.stride_tricks.as_strided(rows, (height, width, 3), (rows.strides[0], 3, 1))
        photos.append((photo.__array_interface__ | {"kept": rows}, scale))
        expected.append(np.asarray(Image.fromarray(np.ascontiguousarray(photo)).reduce(scale)))
    for found, wanted in zip(average.bring(photos), expected, strict=True):
        print("apart", np.abs(found.astype(int) - wanted).max(), found.shape == wanted.shape)
"""


def run(libcuda: Path, script: str = SCRIPT, **variables: str) -> list[str]:
    environment = os.environ | {"LD_LIBRARY_PATH": str(libcuda)} | variables
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env=environment, cwd=HERE.parents[2], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_call_reaches_the_driver(libcuda: Path) -> None:
    lines = run(libcuda)
    assert lines.count("CudaBindings Stub sm90") == 1
    assert lines.count("True True") == 2  # in a thread that has not met the device, and in the first
    assert lines.count("cuMemAlloc: out of memory") == 1
    assert not any(line.startswith("Device") for line in lines)
    assert lines.count("stream flags 1") == 2  # beside the default stream, never after it
    assert lines.count("event flags 3") == 1  # waits asleep, takes no time
    assert lines.count("capture mode 1") == 1  # of this thread's calls alone
    assert lines.count("host memory freed") == 2  # with the arrays
    assert lines.count("released") == 1


def test_an_error_that_lasts_is_a_lost_device(libcuda: Path) -> None:
    told = [line for line in run(libcuda, STUB_FAIL="700") if line.startswith("DeviceLost")]
    assert len(told) == 1
    assert "cuCtxSynchronize: an illegal memory access was encountered (CUDA 700)" in told[0]
    assert any(line.startswith("DeviceFault") for line in run(libcuda, STUB_FAIL="1"))


def test_photos_are_averaged_as_pillow_does(libcuda: Path) -> None:
    """Compiled by NVRTC for a real GPU, then run by its twin on the host: several photos a batch, rows with a pitch,
    edges that are left over."""
    pytest.importorskip("cuda.bindings.nvrtc")
    told = [line for line in run(libcuda, AVERAGE) if line.startswith("apart")]
    assert len(told) == 9
    assert set(told) <= {"apart 0 True", "apart 1 True"}
