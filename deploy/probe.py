"""Asks the workers of a home whether they are well, for the health check of a container.

    python -m deploy.probe /healthz
    python -m deploy.probe /readyz

The workers are those that have announced themselves in GROKNET_HOME/run. The exit code is 0 if there is at least one
and all answer 200, otherwise 1.
"""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path

_TIMEOUT_S = 5.0
_EVERYWHERE = ("0.0.0.0", "::", "")


def announced(home: Path) -> dict[str, tuple[str, int]]:
    """Host and port of each announced worker, by its name. The supervisor of `groknet run all` serves no probe."""
    found = {}
    for file in sorted((home / "run").glob("*.json")):
        try:
            entry = json.loads(file.read_text("utf-8"))
            host, port = str(entry["host"]), int(entry["port"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another file, or one that is being removed
        if file.stem != "supervisor":
            found[file.stem] = ("127.0.0.1" if host in _EVERYWHERE else host, port)
    return found


def answer(host: str, port: int, path: str) -> str:
    """An empty text if `path` answers 200, otherwise what is wrong."""
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(500).decode("utf-8", "replace")
        return "" if response.status == 200 else f"{response.status} {body}"
    except (OSError, HTTPException) as error:
        return str(error)
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Ask all workers and print what is wrong. Returns the exit code."""
    path = arguments[0] if arguments else "/healthz"
    workers = announced(Path(os.environ.get("GROKNET_HOME", "groknet-home")))
    wrong = {name: said for name, (host, port) in workers.items() if (said := answer(host, port, path))}
    for name, said in wrong.items():
        print(f"{name}: {said}")
    if not workers:
        print("no worker has announced itself yet")
    return 1 if wrong or not workers else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
