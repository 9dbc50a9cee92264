"""What the dashboards say in five situations: `python -m benchmarks.stream.situations --out
docs/operations/what-the-dashboards-say.md`.

A tagger, an indexer and a search service run on the embedded back ends with the demo network, under a steady load, and
a real Prometheus watches. Each situation is made, lasts `--seconds`, and ends. Then the same time passes in quiet. The
page has the largest value of the most telling panels in each situation; the pictures show the whole run.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.report import DEMO, page, parser, table, versions, write_page
from benchmarks.stream.watched_home import Load, largest, running
from deploy.operations.pictures.draw import draw
from deploy.operations.prometheus import Prometheus
from schemas.events import ImageRef

SLOW_S = 6.0  # before a slow photo host answers
SHARE = 0.4  # of the capacity, in quiet
_W = "[20s]"
PANELS = {
    "hold": "max(groknet_hold)",
    "lag (s)": "max(groknet_lag_seconds)",
    "searchable p99 (s)": (
        f'histogram_quantile(0.99, sum by (le) (rate(groknet_event_age_seconds_bucket{{stage="indexed"}}{_W})))'
    ),
    "retries /s": f"sum(rate(groknet_retries_total{_W}))",
    "dead letters /s": f"sum(rate(groknet_dead_letters_total{_W}))",
    "slow hosts": "max(groknet_slow_hosts)",
    "search p99 (s)": 'histogram_quantile(0.99, sum by (le) (rate(groknet_search_seconds_bucket{step="total"}[20s])))',
    "epochs": "count(count by (epoch) (groknet_model_info))",
}


@contextmanager
def store_away(home: Path) -> Iterator[None]:
    """Nobody can write to the store."""
    connection = sqlite3.connect(home / "store.db", timeout=60, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


@contextmanager
def slow_host() -> Iterator[str]:
    """A photo host that answers after `SLOW_S` seconds. Gives `host:port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(SLOW_S)
            with suppress(OSError):  # the tagger did not wait so long
                self.send_error(503)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def faster(load: Load, times: float) -> Iterator[None]:
    """So many times the uploads."""
    before = load.uploads_per_s
    load.uploads_per_s = times * before
    try:
        yield
    finally:
        load.uploads_per_s = before


@contextmanager
def beside(load: Load, *photos: ImageRef) -> Iterator[None]:
    """One seller's uploads, besides the others."""
    load.extra = photos
    try:
        yield
    finally:
        load.extra = ()


@contextmanager
def new_bundle(home: Path, folder: Path) -> Iterator[None]:
    """The same network under another epoch: computed again for every listing, then put in force."""
    shutil.copytree(DEMO, folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    epoch = manifest["epoch"][::-1]
    changed = manifest | {"epoch": epoch, "model_version": "demo-again"}
    (folder / "manifest.json").write_text(json.dumps(changed), "utf-8")
    for words in (["backfill", "--bundle", str(folder)], ["epoch", "switch", epoch]):
        command = [sys.executable, "-m", "groknet", *words, "--home", str(home)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(f"{' '.join(words)}: {done.stderr}\n")
    yield


def situations(seconds: float, folder: Path, out: Path) -> str:
    """Make all of them, draw into the folder `out`, and return the body of the page."""
    home = folder / "home"
    with slow_host() as host:
        settings = (
            f'[targets]\nport = 0\n[indexer]\nport = 0\n[tagger]\nport = 0\n[intake]\nallowed_private = ["{host}"]\n'
        )
        slow = [ImageRef(image_id="0", url=f"http://{host}/{n}.jpg") for n in range(4)]
        bad = [ImageRef(image_id="0", data=b"no photo")]
        with (
            running(home, settings, {}) as targets,
            Prometheus(folder / "prometheus", targets, every_s=2) as prometheus,
        ):
            load = Load(home, f"sqlite:///{home}/stream.db", uploads_per_s=1, searches_per_s=1)
            load.capacity(20)
            load.uploads_per_s = SHARE * load.capacity(60)
            made: dict[str, Callable[[], AbstractContextManager[Any]]] = {
                "the store is away": lambda: store_away(home),
                "a photo host is slow": lambda: beside(load, *slow),
                "traffic doubles, and doubles again": lambda: faster(load, 4),
                "one seller's photos are bad": lambda: beside(load, *bad),
                "a new bundle, with another epoch": lambda: new_bundle(home, folder / "bundle"),
            }
            since, lines = time.time(), []
            with load:
                lines.append(_watch(prometheus, "quiet", seconds))
                for name, make in made.items():
                    began = time.time()
                    with make():
                        time.sleep(max(0.0, seconds - (time.time() - began)))
                    lines.append(_watch(prometheus, name, seconds, began))
            files = draw(prometheus.url, since, time.time(), out, every_s=prometheus.every_s)
    shown = "\n\n".join(f"![{file.stem}](pictures/{file.name})" for file in files)
    return f"{table(['situation', *PANELS], lines)}\n\n{shown}"


def _watch(prometheus: Prometheus, name: str, seconds: float, began: float | None = None) -> list[str]:
    """Let a time in quiet pass, and return the line of what was seen since `began`, until half of that time."""
    began = time.time() if began is None else began
    time.sleep(seconds / 2)
    found = [largest(prometheus, expr, began, time.time()) for expr in PANELS.values()]
    time.sleep(seconds / 2)
    sys.stderr.write(f"{name} is over\n")
    return [name, *("–" if value is None else f"{value:.3g}" for value in found)]


def main() -> None:
    """Parse, run, write the page."""
    options = parser(__doc__, tells="page")
    options.add_argument("--seconds", type=float, default=45.0, help="of each situation (default 45)")
    arguments = options.parse_args()
    out = (arguments.out.parent if arguments.out else Path.cwd()) / "pictures"
    with tempfile.TemporaryDirectory() as name:
        body = situations(arguments.seconds, Path(name), out)
    command = f"python -m benchmarks.stream.situations --seconds {arguments.seconds:g}"
    write_page(page("Five situations", command, versions("onnxruntime", "faiss-cpu"), body), arguments.out)


if __name__ == "__main__":
    main()
