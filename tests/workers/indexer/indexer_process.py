"""An indexer in a process of its own, so that a test can kill it: python -m … HOME SNAPSHOT_INTERVAL_S."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from tests.workers.indexer.hash_topic import EPOCH, stream_at
from workers.http.serving import Health, serve
from workers.indexer import IndexerSettings, build_indexer


def main(home: Path, snapshot_interval_s: float) -> None:
    health = Health()
    settings = IndexerSettings(port=0, snapshot_interval_s=snapshot_interval_s, poll_interval_s=0.01)
    indexer = build_indexer(settings, stream=stream_at(home), epoch=EPOCH, home=home, health=health)
    server = serve(indexer.app, settings.host, settings.port)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print(server.url, flush=True)
    indexer.run(stop)
    server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
