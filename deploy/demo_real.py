"""`python -m deploy.demo_real [options of groknet demo]`: the demo on Kafka and Cassandra.

It does what you would do by hand: services up, set two URLs, store migrate, the demo, services down. The two URLs are
in the home's groknet.toml, so that the commands that the demo prints work afterwards.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from deploy.local import Services, urls

HOME = Path(".demo") / "real"


def configuration(services: Services) -> str:
    """Return the configuration that moves a home to these servers, as TOML."""
    state = services.status()
    sections = {} if state is None else urls(state)
    lines = [f"[{name}]\nurl = {json.dumps(url)}\n" for name, url in sections.items()]
    return "# Written by `make demo-real`, each time.\n" + "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the demo and return its exit code."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return subprocess.run([sys.executable, "-m", "groknet", "demo", "--help"], check=False).returncode
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
