"""`python -m deploy.demo_real [options of groknet demo]`: the demo on Kafka and Cassandra.

It does what you would do by hand: services up, set two URLs, store migrate, the demo, services down.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from deploy.local import Services, urls

HOME = Path(".demo") / "real"


def _environment(services: Services) -> dict[str, str]:
    """Return the two settings that move a home to these servers, as environment variables."""
    state = services.status()
    return {} if state is None else {f"GROKNET__{name.upper()}__URL": url for name, url in urls(state).items()}


def main(arguments: list[str]) -> int:
    """Run the demo and return its exit code."""
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C also reaches the demo, and the servers stop after it
    groknet = [sys.executable, "-m", "groknet"]
    with Services(HOME, say=lambda line: print(line, flush=True)) as services:
        chosen = _environment(services)
        environment = os.environ | chosen
        for name in chosen:
            print(f"{name}={environment[name]}", flush=True)
        for command in (["store", "migrate"], ["demo", *arguments]):
            ended = subprocess.run([*groknet, *command, "--home", str(HOME)], env=environment, check=False)
            if ended.returncode:
                break
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
