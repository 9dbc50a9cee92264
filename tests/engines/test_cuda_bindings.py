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
from engines.recognition.tensorrt.cuda import OutOfDeviceMemory, open_driver

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


def run(libcuda: Path, **variables: str) -> list[str]:
    environment = os.environ | {"LD_LIBRARY_PATH": str(libcuda)} | variables
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, check=False, timeout=60
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
