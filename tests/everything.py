"""`python -m tests.everything [pytest's options]`: all tests, or those that the options name.

Without options, the tests that need no server and take no seconds run side by side first, because many of them wait.
Then the slow ones that need no server run two side by side. The others follow one after the other: they start servers
and browsers, or are marked `alone`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

FAST = "not services and not prometheus and not browser and not slow"
SLOW = "slow and not alone and not services and not prometheus and not browser"
SIDE_BY_SIDE = {"fast_tests": (FAST, 4), "slow_tests": (SLOW, 2)}
"""Parts that run side by side: which tests, and how many at a time."""


def main(options: list[str]) -> int:
    """Run them. Returns 0 if all passed, otherwise the exit code of the first run that failed."""
    pytest = [sys.executable, "-m", "pytest"]
    if options:
        return subprocess.run([*pytest, *options], check=False).returncode
    took, codes = os.environ.get("GROKNET_PARTS", ""), []
    for part, (which, count) in SIDE_BY_SIDE.items():
        began = time.monotonic()
        spread = ["-m", which, "-n", str(count), "--dist", "loadfile"]
        codes.append(subprocess.run([*pytest, *spread], check=False).returncode)
        took += f" {part}={time.monotonic() - began:.0f}"
    rest = ["-m", f"not ({FAST}) and not ({SLOW})"]
    codes.append(subprocess.run([*pytest, *rest], env=os.environ | {"GROKNET_PARTS": took}, check=False).returncode)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
