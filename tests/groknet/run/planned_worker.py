"""A worker whose lives go as planned: HOME/NAME.plan has a word a life, the last one for every life after it.

A number: say why and end at once with this exit code. `ready`: become ready and work until told to stop. `crash`:
become ready, and end with exit code 1 once the file HOME/NAME.crash is there. `untidy`: as `ready`, but end with exit
code 1 when told to stop.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    arguments = sys.argv[1:]
    kind, home = arguments[1], Path(arguments[arguments.index("--home") + 1])
    slot = int(arguments[arguments.index("--slot") + 1]) if "--slot" in arguments else 0
    name = f"{kind}-{slot + 1}" if slot else kind
    lives = home / f"{name}.lives"
    life = int(lives.read_text()) if lives.exists() else 0
    lives.write_text(str(life + 1))
    plan = (home / f"{name}.plan").read_text().split()
    word = plan[min(life, len(plan) - 1)]
    print(f"groknet: {name} ends in life {life}", flush=True)
    if word.isdigit():
        return int(word)
    code = _work(home, kind, slot, name, crash=word == "crash")
    return 1 if word == "untidy" else code


def _work(home: Path, kind: str, slot: int, name: str, *, crash: bool) -> int:
    from starlette.applications import Starlette

    from groknet.home.config import load_config
    from groknet.home.paths import Home
    from groknet.run.process import worker_process
    from workers.http.serving import Health, operations_routes, serve

    health = Health()
    with worker_process(load_config(Home(home), {}), kind, 10.0, name, slot=slot) as process:  # type: ignore[arg-type]
        server = serve(Starlette(routes=operations_routes(health, "tagger")), "127.0.0.1", 0)
        process.announce(server.host, server.port)
        health.mark_started()
        health.mark_ready()
        while not process.stop.wait(0.01):
            if crash and (home / f"{name}.crash").exists():
                return 1
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
