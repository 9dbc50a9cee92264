"""The options of all benchmarks, and what each one reports about itself: command, date and machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

DEMO = Path(__file__).parents[1] / "training" / "bundles" / "demo"


def parser(
    doc: str | None, *, tells: Literal["page", "result"], bundle: bool = False, repeats: int = 0
) -> argparse.ArgumentParser:
    """The options that every benchmark has, under its module's docstring.

    Args:
        doc: `__doc__` of the benchmark.
        tells: `page` adds `--out` for `write_page`, `result` adds `--json` for `write_result`.
        bundle: adds `--bundle`, a path, the demo's unless given.
        repeats: where above 0, adds `--repeats` with that default.
    """
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if bundle:
        made.add_argument("--bundle", type=Path, default=DEMO, help="bundle folder (default: the demo bundle)")
    if repeats:
        made.add_argument("--repeats", type=int, default=repeats, help=f"rounds; medians are told (default {repeats})")
    if tells == "page":
        made.add_argument("--out", type=Path, help="write the page there instead of printing it")
    else:
        made.add_argument("--json", action="store_true", help="one JSON object instead of text")
    return made


def training_options(options: argparse.ArgumentParser, steps: int, seeds: int) -> None:
    """The options of every benchmark that trains."""
    options.add_argument("--data", type=Path, required=True, help="folder with the data sets' folders")
    options.add_argument("--work", type=Path, required=True, help="folder for decoded photos and runs; kept")
    options.add_argument("--device", help="torch device (default: the GPU, where there is one)")
    options.add_argument("--steps", type=int, default=steps, help=f"of every run (default {steps})")
    options.add_argument("--seeds", type=int, default=seeds, help=f"runs a row, of which the mean (default {seeds})")


def write_page(text: str, out: Path | None) -> None:
    """Write a page to the file, whose folder is created, or to stdout."""
    if out is None:
        sys.stdout.write(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")


def write_result(result: Mapping[str, Any], as_json: bool) -> None:
    """Print one JSON object, or one line for each figure. The lines of a table of figures begin with its name."""
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for name, value in result.items():
        lines = value.items() if isinstance(value, dict) else [("", value)]
        sys.stdout.writelines(f"{f'{name} {key}'.strip():60} {figure}\n" for key, figure in lines)


def machine(gpu: str = "no GPU") -> str:
    """One line with the cores, the processor, the GPU that was used, and the version of Python."""
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
        flags = set(next((line for line in lines if line.startswith("flags")), "").split())
        model += "".join(f", {flag}" for flag in ("avx2", "avx512_vnni", "avx512_bf16", "amx_int8") if flag in flags)
    except OSError:
        pass
    return f"{os.cpu_count()} cores of {model}; {gpu}; Python {platform.python_version()}"


def versions(*packages: str) -> str:
    """`name version` of each of these packages that is installed."""
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


def page(title: str, command: str, packages: str, body: str, gpu: str = "no GPU") -> str:
    """The whole Markdown page."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"# {title}\n\n`{command}`, {day}.\n{machine(gpu)}; {packages}.\n\n{body}\n"
