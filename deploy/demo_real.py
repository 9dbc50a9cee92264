"""`python -m deploy.demo_real [options of groknet demo]`: the demo on Kafka and Cassandra.

It does what you would do by hand: services up, set two URLs, store migrate, the demo, services down. The two URLs are
in the home's groknet.toml, so that the commands that the demo prints work afterwards.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from deploy.local import Services

HOME = Path(".demo") / "real"
KEYSPACE = "groknet"


def configuration(services: Services) -> str:
    """Return the configuration that moves a home to these servers, as TOML."""
    nodes = ",".join(f"{host}:{services.cassandra_port}" for host in services.contact_points)
    return (
        "# Written by `make demo-real`, each time.\n"
        f'[stream]\nurl = "kafka://{services.bootstrap}"\n\n[store]\nurl = "cassandra://{nodes}/{KEYSPACE}"\n'
    )


def main(arguments: list[str]) -> int:
    """Run the demo and return its exit code."""
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C also reaches the demo, and the servers stop after it
    groknet = [sys.executable, "-m", "groknet"]
    with Services(HOME, say=lambda line: print(line, flush=True)) as services:
        text = configuration(services)
        (HOME / "groknet.toml").write_text(text, encoding="utf-8")
        print(text, flush=True)
        for command in (["store", "migrate"], ["demo", *arguments]):
            ended = subprocess.run([*groknet, *command, "--home", str(HOME)], check=False)
            if ended.returncode:
                break
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
