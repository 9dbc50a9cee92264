"""Lists the licences of all locked packages: `python -m deploy.locks.licences` writes docs/reference/licences.md.

A licence is what a package's own metadata says. Packages for other platforms are not installed here, so they are listed
without a licence, and a machine that has them fills it in.
"""

from __future__ import annotations

import argparse
import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from deploy.locks.relock import FOLDER, LOCKS

PAGE = FOLDER.parents[1] / "docs/reference/licences.md"
OTHER_PLATFORM = "not installed on the machine that made this list"
_HEAD = """# Licences

GrokNet is Apache-2.0. This page lists the licence that each locked package names in its own metadata. `run.txt` is what
a container installs, `cuda.txt` what one with an NVIDIA GPU installs, `ci.txt` what the tests need.
`python -m deploy.locks.licences` writes this page, and a test checks that it is current.

| package | lock | licence |
|---|---|---|
"""


def locked(lock: Path) -> dict[str, set[str]]:
    """Package → its versions in a lock. There are several where platforms need different ones."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text("utf-8"), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def licence(package: str) -> str:
    """What the installed package names as its licence, on one line; `OTHER_PLATFORM` if it is not installed."""
    try:
        about = metadata(package).json
    except PackageNotFoundError:
        return OTHER_PLATFORM
    classifiers = [text for text in about.get("classifier", ()) if text.startswith("License :: ")]
    short = [text.rpartition(" :: ")[2] for text in classifiers]
    free = " ".join(str(about.get("license", "")).split())
    text = str(about.get("license_expression", "")) or " / ".join(dict.fromkeys(short)) or free
    return text[:77] + "…" if len(text) > 78 else text or "not named; see the package's files"


def page() -> str:
    """The whole page, from the locks and from what is installed."""
    packages: dict[str, list[str]] = {}
    for name in LOCKS:
        for package in locked(FOLDER / name):
            packages.setdefault(package, []).append(name)
    rows = [f"| {package} | {', '.join(packages[package])} | {licence(package)} |" for package in sorted(packages)]
    return _HEAD + "\n".join(rows) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")
    print(f"{PAGE}: {page().count(' | ')} cells")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
