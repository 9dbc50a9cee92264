"""Clients that never pause, against one search service: `python -m benchmarks.stream.search_load --clients 8 --seconds
120`.

It searches with studio photos among studio listings. Tagger, indexer and search run in one home, as `groknet run all`
starts them. Then come more clients than the service lets in; it must refuse them quickly and never hang.
"""

from __future__ import annotations

import argparse
import io
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import urllib3
from PIL import Image

from benchmarks.report import page, table, versions
from groknet.home.paths import Home
from groknet.home.running import Running, is_ready, read_running
from training.studio import DEMO_IDENTITIES, TEST_IDENTITIES, make_product, render
from workers.search import SearchSettings

LISTINGS = 200
QUERIES = 32
FULL_CLIENTS = 96  # three times as many as are let in
START_S = 120.0


def photo(identity: int, view: int) -> bytes:
    """A studio photo of 800 x 600, JPEG of quality 85."""
    file = io.BytesIO()
    Image.fromarray(render(make_product(identity), view, "natural", (800, 600)).pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def ask(pool: urllib3.PoolManager, url: str, data: bytes) -> tuple[str, float]:
    """Send one search. Returns how it ended, and its seconds."""
    began = time.perf_counter()
    try:
        answer = pool.request("POST", f"{url}/v1/search", body=data, headers={"content-type": "image/jpeg"})
    except urllib3.exceptions.HTTPError as error:
        return type(error).__name__, time.perf_counter() - began
    ending = str(answer.status)
    if answer.status in (429, 503):
        ending += " with Retry-After" if int(answer.headers.get("retry-after", 0)) >= 1 else " without Retry-After"
    return ending, time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Seen:
    """How requests ended, and the sorted seconds of the good and the refused ones."""

    endings: Counter[str]
    good: list[float]
    refused: list[float]

    def told(self) -> str:
        """How the requests ended, in words."""
        return ", ".join(f"{n} × {ending}" for ending, n in sorted(self.endings.items()))


def load(url: str, photos: Sequence[bytes], clients: int, seconds: float) -> Seen:
    """Let `clients` search with one photo after another for `seconds` seconds."""
    end = time.monotonic() + seconds

    def client(number: int) -> list[tuple[str, float]]:
        pool = urllib3.PoolManager(retries=False, timeout=60)
        done: list[tuple[str, float]] = []
        while time.monotonic() < end:
            done.append(ask(pool, url, photos[(number + 7 * len(done)) % len(photos)]))
        return done

    with ThreadPoolExecutor(clients) as threads:
        asked = [one for done in threads.map(client, range(clients)) for one in done]
    good = sorted(s for ending, s in asked if ending == "200")
    refused = sorted(s for ending, s in asked if ending.startswith(("429", "503")))
    return Seen(Counter(ending for ending, _ in asked), good, refused)


def percentile(values: Sequence[float], share: float) -> str:
    """Milliseconds."""
    return f"{1000 * values[min(len(values) - 1, int(share * len(values)))]:.0f}" if values else "-"


def memory(running: Running) -> float:
    """The resident memory of the process in megabytes."""
    return float(psutil.Process(running.pid).memory_info().rss) / 1e6


def started(home: Home, workers: subprocess.Popen[bytes]) -> Running:
    """Wait until the search service is ready, and return it."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and workers.poll() is None:
        running = read_running(home, "search")
        if running is not None and is_ready(running):
            return running
        time.sleep(0.2)
    raise RuntimeError("the workers did not become ready; run `groknet run all` to see why")


def measured(running: Running, photos: Sequence[bytes], clients: int, seconds: float) -> str:
    """Measure, and return the two tables."""
    warm = load(running.url, photos, clients, min(10.0, seconds))
    rows, memories = [], [memory(running)]
    for part in range(4):
        seen = load(running.url, photos, clients, seconds / 4)
        memories.append(memory(running))
        mean = f"{1000 * statistics.fmean(seen.good):.0f}" if seen.good else "-"
        figures = [mean, percentile(seen.good, 0.5), percentile(seen.good, 0.99)]
        rows.append([part + 1, seen.told(), f"{4 * len(seen.good) / seconds:.1f}", *figures, f"{memories[-1]:.0f}"])
    full = load(running.url, photos, FULL_CLIENTS, min(20.0, seconds))
    header = ["quarter", "answers", "searches/s", "mean ms", "p50 ms", "p99 ms", "MB held"]
    return "\n\n".join(
        [
            f"{clients} clients for {seconds:.0f} s, after {len(warm.good)} searches to warm up; {LISTINGS} "
            f"listings, photos of 800 x 600. Memory before: {memories[0]:.0f} MB.",
            table(header, rows),
            f"{FULL_CLIENTS} clients that never pause, {SearchSettings().max_client_waiting} let in at a time, for "
            f"{min(20.0, seconds):.0f} s: {full.told()}. The good ones took {percentile(full.good, 0.99)} ms at p99, "
            f"{percentile(full.good, 1.0)} at most; a refusal {percentile(full.refused, 0.5)} ms in the median, "
            f"{percentile(full.refused, 1.0)} at most. Afterwards it is "
            f"{'ready' if is_ready(running) else 'NOT ready'}, and holds {memory(running):.0f} MB.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the page, or write it where --page says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream.search_load", description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--page", type=Path, help="write a Markdown page")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root, photos = Path(folder) / "home", Path(folder) / "photos"
        photos.mkdir()
        for identity in list(DEMO_IDENTITIES)[:LISTINGS]:
            (photos / f"{identity}.jpg").write_bytes(photo(identity, 0))
        queries = [photo(identity, 1) for identity in list(TEST_IDENTITIES)[:QUERIES]]
        groknet = [sys.executable, "-m", "groknet"]
        with (Path(folder) / "log").open("wb") as log:
            run = [*groknet, "run", "all", "--home", str(root), "--port", "0"]
            workers = subprocess.Popen(run, stdout=log, stderr=log)
            try:
                running = started(Home(root), workers)
                subprocess.run([*groknet, "submit", "--home", str(root), "--wait", str(photos)], check=True)
                body = measured(running, queries, options.clients, options.seconds)
            finally:
                workers.send_signal(signal.SIGTERM)
                workers.wait(60)
    command = f"python -m benchmarks.stream.search_load --clients {options.clients} --seconds {options.seconds:g}"
    text = page("Search under load", command, versions("numpy", "onnxruntime", "starlette", "uvicorn"), body)
    if options.page:
        options.page.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
