"""A long run under load on real Kafka and Cassandra: `python -m benchmarks.stream.soak --minutes 60 --load 0.8 --out
FOLDER`.

First it measures how many uploads a second the workers finish here, with the demo network. Then it uploads at that rate
times `--load`, with two searches a second, while a real Prometheus watches. The page compares the first quarter of the
run with the last one: memory and open files of each worker, lag, freshness, search time. It also draws the five
dashboards over the whole run (see `deploy.operations.pictures`; `--no-pictures` leaves them out).
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

from benchmarks.report import page, parser, table, versions, write_page
from benchmarks.servers import new_keyspace
from benchmarks.stream.watched_home import Load, running
from deploy.local import Services
from deploy.operations.pictures.draw import draw
from deploy.operations.prometheus import Prometheus

SEARCHES_PER_S = 2.0
BURST = 120
_AGE = 'sum by (le) (rate(groknet_event_age_seconds_bucket{stage="indexed"}[1m]))'
_SEARCH = 'sum by (le) (rate(groknet_search_seconds_bucket{step="total"}[1m]))'
ROWS = {
    "memory of {name} (MB)": ("process_resident_memory_bytes / 1e6", 0),
    "open files of {name}": ("process_open_fds", 0),
    "lag (records)": ("sum(groknet_lag_records)", 1),
    "lag (s)": ("max(groknet_lag_seconds)", 1),
    "events in hand": ("sum(groknet_in_hand_events)", 1),
    "uploads finished a second": ('sum(rate(groknet_events_total{stage="tagger"}[1m]))', 1),
    "upload to searchable, p50 (s)": (f"histogram_quantile(0.5, {_AGE})", 2),
    "upload to searchable, p99 (s)": (f"histogram_quantile(0.99, {_AGE})", 2),
    "search, p50 (s)": (f"histogram_quantile(0.5, {_SEARCH})", 3),
    "search, p99 (s)": (f"histogram_quantile(0.99, {_SEARCH})", 3),
    "dead letters a second": ("sum(rate(groknet_dead_letters_total[1m]))", 3),
}
"""What a row shows: its query, and the digits after the point."""


def compared(prometheus: Prometheus, since: float, until: float) -> list[list[str]]:
    """One line for each series: its mean in the first and in the last quarter, and its largest value."""
    lines = []
    quarter = (until - since) / 4
    for title, (expr, digits) in ROWS.items():
        for series in prometheus.range(expr, since, until, prometheus.every_s):
            points = [(at, value) for at, value in series.points if math.isfinite(value)]
            first = [value for at, value in points if at < since + quarter]
            last = [value for at, value in points if at >= until - quarter]
            if first and last:
                figures = (sum(first) / len(first), sum(last) / len(last), max(value for _, value in points))
                name = title.format(name=series.labels.get("name", ""))
                lines.append([name, *(f"{figure:.{digits}f}" for figure in figures)])
    return lines


def soak(minutes: float, share: float, threads: int | None, folder: Path, out: Path, *, pictures: bool) -> str:
    """Run, draw into the folder `out`, and return the page's body. An engine has `threads`, or one for each core."""
    with Services(folder / "services") as services:
        environment = {
            "GROKNET__STORE__URL": new_keyspace(services, folder).url,
            "GROKNET__STREAM__URL": f"kafka://{services.bootstrap}",
        }
        settings = '[log]\nformat = "json"\n[targets]\nport = 0\n[indexer]\nport = 0\n[tagger]\nport = 0\n'
        settings += f"[engine]\nthreads = {threads}\n" if threads else ""
        with (
            running(folder / "home", settings, environment) as targets,
            Prometheus(folder / "prometheus", targets) as prometheus,
        ):
            load = Load(
                folder / "home", environment["GROKNET__STREAM__URL"], uploads_per_s=1, searches_per_s=SEARCHES_PER_S
            )
            load.capacity(BURST // 4)  # not counted
            most = load.capacity(BURST)
            load.uploads_per_s = share * most
            since = time.time()
            with load:
                time.sleep(60 * minutes)
            until = time.time()
            lines = compared(prometheus, since, until)
            files = draw(prometheus.url, since, until, out, every_s=prometheus.every_s) if pictures else []
    rate = f"{most:.1f} uploads a second were finished at most, in a burst of {BURST}. The run had {share:.0%} of it: "
    sums = f"{load.sent} uploads and {load.searched} searches in {minutes:g} minutes, of which {load.failed} failed."
    shown = "\n".join(f"![{file.stem}]({file.name})" for file in files)
    header = ["what", "mean of the first quarter", "mean of the last quarter", "largest"]
    return f"{rate}{sums}\n\n{table(header, lines)}\n\n{shown}"


def main() -> None:
    """Parse, run, write the page."""
    options = parser(__doc__, tells="page")
    options.add_argument("--minutes", type=float, default=60.0, help="under load (default 60)")
    options.add_argument("--load", type=float, default=0.8, help="share of the measured capacity (default 0.8)")
    options.add_argument("--threads", type=int, help="of each engine (default: all cores)")
    options.add_argument("--pictures", type=Path, help="the folder for the pictures (default: that of --out)")
    options.add_argument("--no-pictures", action="store_true", help="draw no dashboards")
    arguments = options.parse_args()
    out = arguments.pictures or (arguments.out.parent if arguments.out else Path.cwd())
    with tempfile.TemporaryDirectory() as name:
        wanted = not arguments.no_pictures
        body = soak(arguments.minutes, arguments.load, arguments.threads, Path(name), out, pictures=wanted)
    command = f"python -m benchmarks.stream.soak --minutes {arguments.minutes:g} --load {arguments.load:g}"
    command += f" --threads {arguments.threads}" if arguments.threads else ""
    packages = versions("kafka-python", "cassandra-driver", "onnxruntime", "faiss-cpu")
    write_page(page("A soak", command, packages, body), arguments.out)


if __name__ == "__main__":
    main()
