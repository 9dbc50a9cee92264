"""What `groknet doctor` says of a platform agrees with what was run and what the resolver is asked for."""

from __future__ import annotations

import platform
import sys

import pytest

from deploy.locks.platforms import PLATFORMS, PROMISED, PYTHONS
from groknet.diagnosis.platform_check import platform_check


def test_here_all_tests_ran_or_it_says_not() -> None:
    here = platform_check()
    ran = (sys.platform, platform.machine(), sys.version_info[:2]) == ("linux", "x86_64", (3, 11))
    assert (here.state == "ok") == ran
    assert f"{sys.platform} on {platform.machine()}" in here.detail


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_that_is_resolved_is_known_on_linux(python: str) -> None:
    major, minor = map(int, python.split("."))
    said = platform_check("linux", "x86_64", (major, minor)).detail
    assert "all tests ran" in said if python == "3.11" else "the packages resolve" in said
    assert "nothing was resolved" in platform_check("linux", "x86_64", (3, 15)).detail


@pytest.mark.parametrize(
    ("system", "machine", "word"),
    [("linux", "aarch64", "Java 17"), ("darwin", "arm64", "FAISS"), ("win32", "AMD64", "WSL 2")],
)
def test_a_platform_that_was_only_resolved_says_what_is_missing(system: str, machine: str, word: str) -> None:
    found = platform_check(system, machine, (3, 11))
    assert found.state == "note"
    assert "nothing was run on it" in found.detail
    assert word in found.detail + found.remedy


def test_what_is_resolved_and_what_is_known_are_the_same_platforms() -> None:
    known = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")]
    assert len(PLATFORMS) == len(known)
    assert not any("nothing was resolved" in platform_check(*one, (3, 11)).detail for one in known)
    assert "OpenVINO" in platform_check("linux", "aarch64").detail
    assert "openvino" not in PROMISED["aarch64-manylinux_2_31"]
    assert "nothing was resolved" in platform_check("freebsd14", "amd64").detail
