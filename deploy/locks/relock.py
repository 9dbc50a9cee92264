"""Makes the locks of Python packages again: `python -m deploy.locks.relock`. It needs uv and a package index.

A lock holds for every platform and for Python 3.11 and later: a package that one of them needs carries a marker.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parents[1] / "pyproject.toml"
LOCKS = {
    "run.txt": ("cpu", "kafka", "cassandra"),
    "cuda.txt": ("cpu", "torch", "kafka", "cassandra"),
    "ci.txt": (
        "cpu",
        "openvino",
        "phone",
        "train",
        "kafka",
        "cassandra",
        "services",
        "rtx",
        "tracing",
        "operations",
        "dev",
    ),
}
"""Lock → the extras of pyproject.toml that it covers. Those of ci.txt are what `make test` installs."""
GROUPS = {"image.txt": "image"}
"""Lock → the dependency group that it covers, without what groknet itself needs."""

_FIXED = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header"]
_FIXED += ["--no-annotate", "--quiet"]


def command(uv: str, extras: Sequence[str], out: Path) -> list[str]:
    """The words of the command that writes one lock."""
    return [uv, "pip", "compile", str(PROJECT), *_FIXED, "-o", str(out)] + [
        word for extra in extras for word in ("--extra", extra)
    ]


def group_command(uv: str, group: str, out: Path) -> list[str]:
    """The same for a lock of a dependency group."""
    return [uv, "pip", "compile", "--group", f"{PROJECT}:{group}", *_FIXED, "-o", str(out)]


def main() -> int:
    """Write every lock, and return the exit code."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        print("relock: uv is not installed; pip install uv", file=sys.stderr)
        return 2
    commands = {name: command(uv, extras, FOLDER / name) for name, extras in LOCKS.items()}
    commands |= {name: group_command(uv, group, FOLDER / name) for name, group in GROUPS.items()}
    for name, words in commands.items():
        code = subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode
        if code:
            return code
        print(f"{name}: {(FOLDER / name).read_text().count('==')} packages")
    return 0


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    raise SystemExit(main())
