"""The check of `groknet doctor` for the platform: what was run on it, what was only resolved, and what is missing."""

from __future__ import annotations

import platform
import sys

from groknet.diagnosis.check import Check

_SEE = "see docs/how-to/deploy.md, Platforms"
_LINUX = "linux"
_RUN_WITH = (3, 11)  # the tests ran on Linux x86-64 with this Python
_RESOLVED_WITH = (3, 14)  # and `python -m deploy.locks.platforms` resolved the packages up to this one
_RESOLVED = {
    (_LINUX, "aarch64"): "the packages resolve. Missing: OpenVINO, and a Java for `groknet services`, which takes an"
    " installed Java 17",
    ("darwin", "arm64"): "the packages resolve, but FAISS has no wheel for macOS 13",
    ("win32", "AMD64"): "the packages resolve, but the workers need file locks and signals of POSIX",
}
_REMEDY = {"win32": "use WSL 2, which is Linux x86-64", "darwin": "use Linux, for example in a container"}


def platform_check(system: str = "", machine: str = "", python: tuple[int, int] = (0, 0)) -> Check:
    """What is known of a platform: by default this one. `system` is as in `sys.platform`, `machine` as in
    `platform.machine()`."""
    system, machine = system or sys.platform, machine or platform.machine()
    python = python if any(python) else sys.version_info[:2]
    here = f"{system} on {machine}, Python {'.'.join(map(str, python))}"
    if (system, machine) == (_LINUX, "x86_64"):
        if python == _RUN_WITH:
            return Check(check="platform", state="ok", detail=f"{here}: all tests ran on it")
        known = "the packages resolve, but nothing was run with this Python"
        detail = known if python <= _RESOLVED_WITH else "nothing was resolved or run with this Python"
        return Check(check="platform", state="note", detail=f"{here}: {detail}", remedy="use Python 3.11 if you can")
    known = _RESOLVED.get((system, machine), "nothing was resolved for it")
    remedy = _REMEDY.get(system, _SEE)
    return Check(check="platform", state="note", detail=f"{here}: nothing was run on it; {known}", remedy=remedy)
