"""`python -m deploy.demo_real [options of groknet demo]`: the demo on Kafka and Cassandra.

It does what you would do by hand: services up, set two URLs, store migrate, the demo, services down.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from deploy.local import Services

HOME = Path(".demo") / "real"
KEYSPACE = "groknet"


def urls(services: Services) -> dict[str, str]:
    """Return the two settings that move a home to these servers, as environment variables."""
    nodes = ",".join(f"{host}:{services.cassandra_port}" for host in services.contact_points)
    return {
        "GROKNET__STREAM__URL": f"kafka://{services.bootstrap}",
        "GROKNET__STORE__URL": f"cassandra://{nodes}/{KEYSPACE}",
    }


def main(arguments: list[str]) -> int:
    """Run the demo and return its exit code."""
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C also reaches the demo, and the servers stop after it
    groknet = [sys.executable, "-m", "groknet"]
    with Services(HOME, say=lambda line: print(line, flush=True)) as services:
        environment = os.environ | urls(services)
        for name in urls(services):
            print(f"{name}={environment[name]}", flush=True)
        for command in (["store", "migrate"], ["demo", *arguments]):
            ended = subprocess.run([*groknet, *command, "--home", str(HOME)], env=environment, check=False)
            if ended.returncode:
                break
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
