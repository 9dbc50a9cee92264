"""Hostile inputs by seed, at every door that has a module in `doors/`: `python -m tests.hostile --seed 1 --each 45`.

One line for each door, then one JSON object. It ends with 1 if anything was found.
"""

from __future__ import annotations

import argparse
import json

from tests.hostile.case import DOORS
from tests.hostile.judge import judge


def main() -> int:
    """Judge every door, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=45, help="inputs for each door")
    parser.add_argument("--door", action="append", choices=DOORS, help="only this door; can be repeated")
    chosen = parser.parse_args()
    found: list[str] = []
    inputs = 0
    for door in chosen.door or DOORS:
        judged = judge(f"tests.hostile.doors.{door}", chosen.seed, chosen.each)
        words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(judged.verdicts.items()))
        print(f"{door:<11}{words}, grown by {judged.grown_mb} MB, found {len(judged.found)}", flush=True)
        found += [f"{door}: {text}" for text in judged.found]
        inputs += judged.inputs
    print(json.dumps({"seed": chosen.seed, "inputs": inputs, "found": found}, ensure_ascii=False))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
