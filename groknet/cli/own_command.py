"""Commands as a reader can type them, for this installation and from the present folder."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def own_command(*arguments: str | Path) -> str:
    """`groknet` with these arguments, as the reader's shell finds this installation. Paths below the present folder are
    relative."""
    return shlex.join([*_program(), *(_short(one) if isinstance(one, Path) else one for one in arguments)])


def _program() -> list[str]:
    script = Path(sys.executable).with_name("groknet")
    if not script.exists():
        return [_short(Path(sys.executable)), "-m", "groknet"]
    found = shutil.which("groknet")
    if found is not None and os.path.samefile(found, script):
        return ["groknet"]
    return [_short(script)]


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative
