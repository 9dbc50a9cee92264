"""A driver call's result code decides whether the device is lost, full or only failed."""

from __future__ import annotations

import pytest

from engines.gpu.driver import STICKY, DeviceFault, OutOfDeviceMemory, failure
from schemas.errors import DeviceLost


@pytest.mark.parametrize("code", sorted(STICKY))
def test_codes_that_last_are_a_lost_device(code: int) -> None:
    assert isinstance(failure("call", code, "text"), DeviceLost)


def test_other_codes_are_not() -> None:
    assert isinstance(failure("call", 2, "out of memory"), OutOfDeviceMemory)
    assert isinstance(failure("call", 1, "invalid argument"), DeviceFault)
