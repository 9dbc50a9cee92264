"""Every image of others is found, as a YAML reader finds it, and pinned by what the registry answers. The registry is a
program named docker, because there is none here."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml

from deploy.pin_images import FOLDER, PINNED, Image, images, main, unpinned

DOCKER = """#!/bin/sh
[ "$1 $2 $3" = "buildx imagetools inspect" ] || exit 64
[ "$4" != "{missing}" ] || { echo "$4: not found" >&2; exit 1; }
printf 'sha256:%s\\n' "$(printf %s "$4" | sha256sum | cut -c1-64)"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Only the files that name images."""
    copy = tmp_path / "deploy"
    (copy / "image").mkdir(parents=True)
    for name in ("compose.yaml", "compose.system.yaml", "image/Dockerfile"):
        shutil.copy(FOLDER / name, copy / name)
    return copy


def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str = "") -> None:
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER.replace("{missing}", missing))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def services(file: Path) -> dict[str, str]:
    found = yaml.safe_load(file.read_text("utf-8"))["services"]
    return {name: service["image"] for name, service in found.items() if "image" in service}


def test_every_image_of_others_is_found(folder: Path) -> None:
    named = {**services(folder / "compose.yaml"), **services(folder / "compose.system.yaml")}
    others = {name: image for name, image in named.items() if not image.startswith("groknet")}
    found = {image.service: image.name for image in images(folder)}
    base = found.pop("")
    assert found == others
    assert len(found) == 4
    assert base.removeprefix("python:") in (folder / "image" / "Dockerfile").read_text("utf-8")


def test_a_dry_run_asks_nothing_and_writes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["--dry-run"], folder) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(images(folder))
    assert not (folder / PINNED).exists()


def test_the_digests_are_those_of_the_registry_and_belong_to_a_version(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"], folder) == 1
    assert len(capsys.readouterr().err.splitlines()) == 4
    registry(tmp_path, monkeypatch)
    assert main([], folder) == 0
    said = capsys.readouterr().out
    assert "--build-arg PYTHON=" in said
    pinned = services(folder / PINNED)
    assert {name: image.partition("@")[0] for name, image in pinned.items()} == {
        image.service: image.name for image in images(folder) if image.service
    }
    assert pinned["cassandra"].endswith("@sha256:" + _sha256("cassandra:5.0.9"))
    assert (main(["--check"], folder), unpinned(folder)) == (0, [])
    newer = (folder / "compose.yaml").read_text("utf-8").replace("cassandra:5.0.9", "cassandra:5.0.10")
    (folder / "compose.yaml").write_text(newer, "utf-8")
    assert unpinned(folder) == [Image("cassandra", "cassandra:5.0.10")]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_image_that_the_registry_lacks_is_named_and_nothing_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry(tmp_path, monkeypatch, missing="cassandra:5.0.9")
    assert main([], folder) == 1
    assert "cassandra:5.0.9: cassandra:5.0.9: not found" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([], folder) == 1
    assert "with Docker and a registry" in capsys.readouterr().err
    assert not (folder / PINNED).exists()
