"""The Dockerfile, its health check, and the tree that is made without Docker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from starlette.applications import Starlette

import deploy
from deploy.image_tree import USER, confined, environment
from deploy.locks.relock import GROUPS
from deploy.probe import announced, answer, main
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.home.running import Running, write_running
from workers.http.serving import Health, operations_routes, serve

FOLDER = Path(deploy.__file__).parent / "image"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([str(HADOLINT), str(FOLDER / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_builds_from_the_locks_that_exist() -> None:
    assert set(re.findall(r"build\.sh /source /opt/groknet (\S+)", DOCKERFILE)) == {"run.txt", "cuda.txt"}
    script = (FOLDER / "build.sh").read_text("utf-8")
    assert set(re.findall(r"locks/(\w+\.txt)", script)) == set(GROUPS)
    assert script.count("--require-hashes") == 2


def test_ports_and_user_are_those_of_the_code(tmp_path: Path) -> None:
    config = load_config(Home(tmp_path), {}).config
    ports = {config.tagger.port, config.indexer.port, config.search.port, config.targets.port}
    exposed = re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)
    assert exposed is not None
    assert set(map(int, exposed[1].split())) == ports
    assert f"USER {USER}:{USER}" in DOCKERFILE
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    final = [stage for stage in stages if re.match(r"base AS (cpu|cuda)", stage)]
    assert len(final) == 2
    assert all("COPY --from=build-" in stage and "USER root" not in stage for stage in final)


def test_the_builder_sees_every_room() -> None:
    lines = (FOLDER.parents[1] / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines
    rooms = {"schemas", "engines", "workers", "groknet", "training", "deploy", "benchmarks"}
    assert {line[1:] for line in lines if line.startswith("!")} == rooms | {"pyproject.toml", "README.md", "LICENSE"}


def test_a_command_gives_up_all_rights_before_it_begins(tmp_path: Path) -> None:
    words = confined(tmp_path, ["groknet", "run", "all"])
    assert words[:2] == ["unshare", "--mount"]
    assert words[-3:] == [f"{tmp_path}/bin/groknet", "run", "all"]
    assert "remount,bind,ro" in words[4]
    assert "--bounding-set=-all" in words[4]
    assert environment(tmp_path, tmp_path / "home")["GROKNET_HOME"] == str(tmp_path / "home")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_the_command_takes_the_place_of_the_process_that_was_started() -> None:
    """So Ctrl-C and SIGTERM end the workers as a container's end does. A parent in between would kill them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # user 10001 must reach the tree
        tree, home = Path(folder) / "tree", Path(folder) / "home"
        program = tree / "bin" / "told"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\necho $$ $(id -u) $(pwd)\ntouch $TREE/new || exit 7\n")
        program.chmod(0o755)
        words = [sys.executable, "-m", "deploy.image_tree", "run", str(tree), str(home), "--", "told"]
        started = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, said = started.communicate()
    assert (out.split(), started.returncode) == ([str(started.pid), str(USER), str(home)], 7), said


def test_the_probe_asks_every_announced_worker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROKNET_HOME", str(tmp_path))
    assert main(["/healthz"]) == 1
    health = Health()
    home = Home(tmp_path).make()
    server = serve(Starlette(routes=operations_routes(health, "tagger")), "127.0.0.1", 0)
    try:
        write_running(home, "tagger", Running(pid=1, host="0.0.0.0", port=server.port))
        write_running(home, "supervisor", Running(pid=1, host="127.0.0.1", port=1))
        assert announced(tmp_path) == {"tagger": ("127.0.0.1", server.port)}
        assert main(["/healthz"]) == 0
        assert main(["/readyz"]) == 1
        assert "503" in capsys.readouterr().out
        health.mark_started()
        health.mark_ready()
        assert main(["/readyz"]) == 0
    finally:
        server.stop()
    assert answer("127.0.0.1", server.port, "/healthz") != ""
