"""From a log to a labels.csv: the (query, photo) pairs that enough photos and buyers support.

The log is read once, line by line. The pairs are collected in a temporary database on disk, so that memory does not
grow with the log.
"""

from __future__ import annotations

import gzip
import hashlib
import sqlite3
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from schemas.errors import ConfigError
from schemas.units import Count, ValidationShare
from training.readers.label_table import Row
from training.readers.photo_bytes import split_shard
from training.readers.splits import split_by_name
from training.weak.embeddings import chunks
from training.weak.label_files import SOURCE, refuse_foreign, way, write_table
from training.weak.search_chains import Chains, ChainSettings, LogEvent, Pair

COLUMNS = ("path", "split", "queries", "buyers", SOURCE)
_SCHEMA = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE pair (query TEXT, image TEXT, buyer BLOB, PRIMARY KEY (query, image, buyer)) WITHOUT ROWID;
    CREATE TABLE kept (query TEXT, image TEXT, buyers INTEGER, PRIMARY KEY (query, image)) WITHOUT ROWID;
"""
_AT_ONCE = 10_000  # pairs in one write


class PairSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pair and a query need to be kept, and how the photos are split."""

    min_images: Count = 25  # photos of a query; with fewer a head learns the photos by heart, not the word
    min_buyers: Count = 1  # buyers of a pair; 2 and more drop most accidental pairs, and most of the log
    validation: ValidationShare = 0.05  # share of the photos; 5 % become test


@dataclass(frozen=True)
class LogReport:
    """Counts: what was `read`, what was `dropped` by reason, and what was `kept`."""

    read: dict[str, int]
    dropped: dict[str, int]
    kept: dict[str, int]


def clean_log(
    logs: Sequence[Path],
    out: Path,
    chain: ChainSettings,
    pairs: PairSettings,
    *,
    photos: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> LogReport:
    """Write `out`: one row for each photo, with its queries in the column `queries`, separated by `|`.

    Args:
        logs: files with one JSON object on each line, also `.gz`, and `-` for standard input. Over all of them, the
            events of a buyer must be in order of time.
        out: the table to write.
        chain: windows and bounds of the chains.
        pairs: what is kept.
        photos: folder of the photos; pairs whose photo is not in it are dropped. Without it, paths stay as in the log.
        progress: called with the number of lines read.

    Raises:
        ConfigError: a log does not exist or is damaged, or `out` was not made by this command.
    """
    refuse_foreign(out)
    for log in logs:
        if str(log) != "-" and not log.is_file():
            raise ConfigError(f"log {log}: no such file")
    read: Counter[str] = Counter({"lines": 0, "search": 0, "click": 0, "message": 0, "pairs": 0})
    dropped: Counter[str] = Counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(dir=out.parent, prefix=".pairs-") as scratch,
        closing(sqlite3.connect(Path(scratch) / "pairs.db")) as database,
    ):
        database.executescript(_SCHEMA)
        for some in chunks(_pairs(_lines(logs, progress), chain, read, dropped), _AT_ONCE):
            dropped["pair_again"] += _gather(database, some)
        kept = _thin(database, pairs, photos, dropped)
        base = way(out, photos) if photos is not None else Path()
        write_table(out, COLUMNS, _rows(database, base, pairs.validation))
    return LogReport(dict(read), {k: dropped[k] for k in sorted(dropped) if dropped[k]}, kept)


def _lines(logs: Sequence[Path], progress: Callable[[int], None] | None) -> Iterator[bytes]:
    count = 0
    for log in logs:
        for line in _readable(log):
            count += 1
            if progress is not None and count % 10_000 == 0:
                progress(count)
            yield line


def _readable(log: Path) -> Iterator[bytes]:
    try:
        with _opened(log) as file:
            yield from file
    except (EOFError, OSError, zlib.error) as error:
        raise ConfigError(f"log {log}: damaged ({error}); give the part that can be read") from None


def _opened(log: Path) -> AbstractContextManager[Iterable[bytes]]:
    if str(log) == "-":
        return nullcontext(sys.stdin.buffer)
    return gzip.open(log, "rb") if log.suffix == ".gz" else log.open("rb")


def _pairs(
    lines: Iterable[bytes], settings: ChainSettings, read: Counter[str], dropped: Counter[str]
) -> Iterator[Pair]:
    decoder, chains = msgspec.json.Decoder(LogEvent), Chains(settings)
    for line in lines:
        if not line.strip():
            continue
        read["lines"] += 1
        try:
            event = decoder.decode(line)
        except msgspec.DecodeError:
            dropped["not_an_event"] += 1
            continue
        read[event.event] += 1
        pair = chains.feed(event)
        if pair is not None:
            read["pairs"] += 1
            yield pair
    chains.finish()
    dropped.update(chains.dropped)


def _gather(database: sqlite3.Connection, pairs: Sequence[Pair]) -> int:
    """Add pairs; returns how many were known already. Buyers are stored as digests: names are not needed."""
    rows = [(p.query, p.photo, hashlib.blake2b(p.buyer.encode(), digest_size=8).digest()) for p in pairs]
    before = database.total_changes
    database.executemany("INSERT OR IGNORE INTO pair VALUES (?, ?, ?)", rows)
    return len(rows) - (database.total_changes - before)


def _thin(
    database: sqlite3.Connection, settings: PairSettings, photos: Path | None, dropped: Counter[str]
) -> dict[str, int]:
    """Fill the table `kept`: pairs with enough buyers whose photo exists, of queries with enough photos."""
    distinct = _number(database, "SELECT COUNT(*) FROM (SELECT DISTINCT query, image FROM pair)")
    database.execute(
        "INSERT INTO kept SELECT query, image, COUNT(*) FROM pair GROUP BY query, image HAVING COUNT(*) >= ?",
        (settings.min_buyers,),
    )
    left = _number(database, "SELECT COUNT(*) FROM kept")
    dropped["pair_of_few_buyers"] += distinct - left
    if photos is not None:
        images = [image for (image,) in database.execute("SELECT DISTINCT image FROM kept")]
        missing = [(image,) for image in images if not split_shard(photos, image)[0].is_file()]
        database.executemany("DELETE FROM kept WHERE image = ?", missing)
        dropped["photo_not_there"] += len(missing)
    queries = _number(database, "SELECT COUNT(DISTINCT query) FROM kept")
    database.execute(
        "DELETE FROM kept WHERE query IN (SELECT query FROM kept GROUP BY query HAVING COUNT(*) < ?)",
        (settings.min_images,),
    )
    kept = _number(database, "SELECT COUNT(DISTINCT query) FROM kept")
    dropped["query_of_few_photos"] += queries - kept
    photos_kept = _number(database, "SELECT COUNT(DISTINCT image) FROM kept")
    return {"queries": kept, "photos": photos_kept, "pairs": _number(database, "SELECT COUNT(*) FROM kept")}


def _number(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0])


def _rows(database: sqlite3.Connection, base: Path, validation: float) -> Iterator[Row]:
    found = database.execute("SELECT image, query, buyers FROM kept ORDER BY image, query")
    for image, group in groupby(found, key=lambda row: row[0]):
        pairs = list(group)
        yield {
            "path": (base / image).as_posix(),
            "split": split_by_name(image, validation),
            "queries": "|".join(query for _, query, _ in pairs),
            "buyers": str(sum(buyers for *_, buyers in pairs)),
            SOURCE: "query-log",
        }
