"""The locks of Python packages fit the ranges of pyproject.toml, name no index, and their licences are listed."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.locks.licences import OTHER_PLATFORM, PAGE, licence, locked
from deploy.locks.relock import FOLDER, GROUPS, LOCKS, PROJECT, command, group_command

every_lock = pytest.mark.parametrize("lock", sorted(LOCKS))


def ranges(extras: tuple[str, ...]) -> list[Requirement]:
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    texts = [*project["dependencies"], *(text for e in extras for text in project["optional-dependencies"][e])]
    return [Requirement(text) for text in texts]


def entries(lock: str) -> list[tuple[str, str]]:
    """The name==version of every locked package, and the text of its markers and hashes."""
    text = (FOLDER / lock).read_text("utf-8")
    found = re.findall(r"^([^\s#]+==\S+)(.*?)(?=^[^\s]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(found) == len(re.findall(r"^\S", text, re.MULTILINE))  # nothing but packages begins a line
    return found


@every_lock
def test_a_lock_satisfies_the_ranges(lock: str) -> None:
    versions = {canonicalize_name(name): found for name, found in locked(FOLDER / lock).items()}
    wrong = [
        f"{wanted}: {found}"
        for wanted in ranges(LOCKS[lock])
        for found in versions.get(canonicalize_name(wanted.name), {"missing"})
        if found == "missing" or not wanted.specifier.contains(found.partition("+")[0], prereleases=True)
    ]
    assert wrong == []


def test_a_version_outside_its_range_is_found() -> None:
    assert not Requirement("pillow>=12.2").specifier.contains("12.1")
    assert any(wanted.name == "pillow" and str(wanted.specifier) for wanted in ranges(()))


def test_a_lock_of_a_group_satisfies_its_ranges() -> None:
    groups = tomllib.loads(PROJECT.read_text("utf-8"))["dependency-groups"]
    for lock, group in GROUPS.items():
        versions = {canonicalize_name(name): found for name, found in locked(FOLDER / lock).items()}
        for wanted in map(Requirement, groups[group]):
            (found,) = versions[canonicalize_name(wanted.name)]
            assert wanted.specifier.contains(found)
        assert group_command("uv", group, Path("out.txt"))[3:5] == ["--group", f"{PROJECT}:{group}"]


@pytest.mark.parametrize("lock", sorted({*LOCKS, *GROUPS}))
def test_every_package_has_hashes_and_no_address(lock: str) -> None:
    text = (FOLDER / lock).read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)
    assert entries(lock)
    for package, rest in entries(lock):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), package
        marker = re.match(r"\s*;([^\\\n]*)", rest)
        if marker:
            Marker(marker[1].strip())


def test_what_a_container_installs_is_locked_once() -> None:
    """The tests run with the same versions as the container."""
    run, tests = locked(FOLDER / "run.txt"), locked(FOLDER / "ci.txt")
    assert {name: found for name, found in run.items() if not found <= tests.get(name, set())} == {}


def test_the_command_asks_for_hashes_and_no_index() -> None:
    words = command("uv", ("cpu",), Path("out.txt"))
    assert {"--generate-hashes", "--no-emit-index-url", "--universal"} <= set(words)
    assert words[-2:] == ["--extra", "cpu"]


def test_the_list_of_licences_is_current() -> None:
    """Every locked package is listed, and where the locked version is installed, its licence is the listed one."""
    rows = re.findall(r"^\| (\S+) \| ([^|]*) \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    listed = {name: (locks, text) for name, locks, text in rows if name not in ("package", "---")}
    packages = {name: found for lock in LOCKS for name, found in locked(FOLDER / lock).items()}
    assert set(listed) == set(packages), "run python -m deploy.locks.licences"
    stale = []
    for name, found in packages.items():
        assert listed[name][0] == ", ".join(lock for lock in LOCKS if name in locked(FOLDER / lock))
        try:
            here = version(name)
        except PackageNotFoundError:
            continue
        if here in found and listed[name][1] not in (licence(name), OTHER_PLATFORM):
            stale.append(name)
    assert stale == [], "run python -m deploy.locks.licences"
    unnamed = [name for name, (locks, text) in listed.items() if "run.txt" in locks and text.startswith("not named")]
    assert unnamed == []
