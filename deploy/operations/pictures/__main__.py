"""`python -m deploy.operations.pictures --prometheus URL --minutes 15 --out FOLDER` draws a picture of each dashboard.

It needs npm (which fetches Grafana's components at the first time), Playwright, and a Chromium (`GROKNET_BROWSER` names
one).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from deploy.operations.pictures.draw import draw


def main() -> None:
    """Parse and draw."""
    options = argparse.ArgumentParser(prog="python -m deploy.operations.pictures", description=__doc__)
    options.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    options.add_argument("--minutes", type=float, default=15.0, help="until now (default 15)")
    options.add_argument("--every", type=float, default=15.0, help="seconds between two scrapes (default 15)")
    options.add_argument("--out", type=Path, required=True, help="the folder for the pictures")
    arguments = options.parse_args()
    until = time.time()
    since = until - 60 * arguments.minutes
    for file in draw(arguments.prometheus, since, until, arguments.out, every_s=arguments.every):
        print(file)


if __name__ == "__main__":
    main()
