"""What every measurement says of itself: the command, the day, the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine() -> str:
    """Cores, processor and Python, in a line."""
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
        flags = set(next((line for line in lines if line.startswith("flags")), "").split())
        model += "".join(f", {flag}" for flag in ("avx2", "avx512_vnni", "avx512_bf16", "amx_int8") if flag in flags)
    except OSError:
        pass
    return f"{os.cpu_count()} cores of {model}; no GPU; Python {platform.python_version()}"


def versions(*packages: str) -> str:
    """`name version` of those that are installed."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def page(title: str, command: str, packages: str, body: str) -> str:
    """The whole Markdown page."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"# {title}\n\n`{command}`, {day}.\n{machine()}; {packages}.\n\n{body}\n"
