"""Peak memory of a feed's import and of query pairs, at two sizes: it must not grow with the input.

    python -m benchmarks.cleaning.flat_memory feed --items 100000 1000000
    python -m benchmarks.cleaning.flat_memory log --lines 1000000 4000000

Each size runs in a process of its own, which writes its input to a temporary folder first. A line says the size of the
input, the seconds of processor time, and the largest resident memory of the process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

Counts = dict[str, int]


def write_feed(file: Path, count: int) -> None:
    """A Google feed of RSS with `count` products."""
    with file.open("w", encoding="utf-8") as feed:
        feed.write('<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>\n')
        for number in range(count):
            photos = f"https://img.example/{number}.jpg"
            feed.write(
                f"<item><g:id>{number}</g:id><title>Product {number}</title><g:image_link>{photos}</g:image_link>"
                f"<g:description>{'words ' * 20}</g:description><g:price>{number % 500}.90 EUR</g:price>"
                f"<g:product_type>Kitchen &gt; {number % 300}</g:product_type></item>\n"
            )
        feed.write("</channel></rss>\n")


def import_feed(file: Path, folder: Path) -> Counts:
    """What `groknet import --dry-run` does."""
    from groknet.importing.events import EventMaker, Imported, import_events
    from groknet.importing.formats import read_feed

    maker = EventMaker(event_time=time.time_ns() // 1000)
    counts = {"imported": 0, "other": 0}
    for one in import_events(read_feed(file), maker):
        counts["imported" if isinstance(one, Imported) else "other"] += 1
    return counts


def write_log(file: Path, count: int) -> None:
    """A log of `count` lines: buyers come and go, a tenth of their chains ends with a message, and queries are as
    frequent as words are (Zipf)."""
    rng = random.Random(1)
    words = [f"word{number}" for number in range(20_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    queries = rng.choices(words, weights, k=200_000)
    written, at = 0, 1_772_000_000
    with file.open("w", encoding="utf-8") as log:
        while written < count:
            buyer, listing = f"b{rng.randrange(count // 8)}", rng.randrange(count // 10)
            at += 1
            events = [{"time": at, "buyer": buyer, "event": "search", "query": rng.choice(queries)}]
            events.append(
                {"time": at, "buyer": buyer, "event": "click", "listing": f"l{listing}", "image": f"{listing}.jpg"}
            )
            if rng.random() < 0.4:
                events.append({"time": at, "buyer": buyer, "event": "message", "listing": f"l{listing}"})
            for event in events:
                log.write(json.dumps(event) + "\n")
            written += len(events)


def query_pairs(file: Path, folder: Path) -> Counts:
    """What `groknet data query-pairs` does, with its filters."""
    from training.weak import ChainSettings, PairSettings, clean_log

    chain = ChainSettings(buyers=100_000)
    pairs = PairSettings(min_images=25, min_query_buyers=5, min_term_buyers=3)
    report = clean_log([file], folder / "labels.csv", chain, pairs)
    return report.read | report.kept


def _measured(
    channel: Connection,
    write: Callable[[Path, int], None],
    run: Callable[[Path, Path], Counts],
    size: int,
    folder: Path,
) -> None:
    file = folder / "input"
    write(file, size)
    began = time.process_time()
    counts = run(file, folder)
    used_s = time.process_time() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    channel.send(
        {"megabytes": file.stat().st_size // 2**20, "cpu_s": round(used_s, 1), "peak_mb": round(peak_mb)} | counts
    )


def main() -> None:
    """Measure, and print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("feed").add_argument("--items", dest="sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    kinds.add_parser("log").add_argument("--lines", dest="sizes", type=int, nargs="+", default=[1_000_000, 4_000_000])
    chosen = parser.parse_args()
    write, run = (write_feed, import_feed) if chosen.kind == "feed" else (write_log, query_pairs)
    for size in chosen.sizes:
        with TemporaryDirectory(prefix="groknet-flat-") as folder:
            ours, theirs = multiprocessing.Pipe()
            worker = multiprocessing.Process(target=_measured, args=(theirs, write, run, size, Path(folder)))
            worker.start()
            theirs.close()
            print(json.dumps({"size": size} | ours.recv()), flush=True)
            worker.join()


if __name__ == "__main__":
    main()
