"""`python -m schemas` writes the schema files from the types. `--check` finds stale files and breaking changes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from schemas.compat import breaks, topic_breaks
from schemas.documents import JSON_FOLDER, RELEASED_FOLDER, TOPICS_FILE, render, stale, write


def released_breaks(files: dict[str, bytes], folder: Path = RELEASED_FOLDER) -> list[str]:
    """Return what in `files` breaks a released file of `folder`. A released file that is missing is a break as well."""
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name not in files:
            found.append(f"{path.name}: removed, though released")
            continue
        compare = topic_breaks if path.name == TOPICS_FILE else breaks
        old, new = msgspec.json.decode(path.read_bytes()), msgspec.json.decode(files[path.name])
        found += [f"{path.name} {text}" for text in compare(old, new)]
    return found


def main(arguments: list[str] | None = None, folder: Path = JSON_FOLDER, released: Path = RELEASED_FOLDER) -> int:
    """Write or check the files. Exit codes: 0 done, or nothing to report; 1 stale files or breaks, named on stderr."""
    parser = argparse.ArgumentParser(prog="python -m schemas", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a stale file or a break")
    parser.add_argument("--freeze", action="store_true", help="release: copy to json/v1, unless something breaks")
    options = parser.parse_args(arguments)
    files = render()
    problems = released_breaks(files, released)
    if options.check:
        problems += [f"{name}: stale; run python -m schemas" for name in stale(folder)]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    if not options.check:
        print("\n".join(f"wrote {name}" for name in write(folder)) or "all up to date")
    if options.freeze:
        released.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (released / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
