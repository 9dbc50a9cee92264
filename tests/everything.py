"""`python -m tests.everything [pytest's options]`: all tests, or those that the options name.

Without options, the tests that need no server and take no seconds run side by side first, because many of them wait.
The others follow one after the other: they start workers and servers, and use all cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

FAST = "not services and not prometheus and not browser and not slow"
SIDE_BY_SIDE = 4


def main(options: list[str]) -> int:
    """Run them. Returns 0 if all passed, otherwise the exit code of the first run that failed."""
    pytest = [sys.executable, "-m", "pytest"]
    if options:
        return subprocess.run([*pytest, *options], check=False).returncode
    began = time.monotonic()
    fast = subprocess.run([*pytest, "-m", FAST, "-n", str(SIDE_BY_SIDE), "--dist", "loadfile"], check=False)
    took = f"{os.environ.get('GROKNET_PARTS', '')} fast_tests={time.monotonic() - began:.0f}"
    rest = subprocess.run([*pytest, "-m", f"not ({FAST})"], env=os.environ | {"GROKNET_PARTS": took}, check=False)
    return fast.returncode or rest.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
