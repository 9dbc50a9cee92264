"""From a log to a labels.csv: the (query, photo) pairs that enough photos and buyers support.

The log is read once, line by line. The pairs are collected in a temporary database on disk, so that memory does not
grow with the log. Queries that differ only in accents are one query, named by its most frequent spelling.
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
from schemas.query_text import query_key, terms
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
    PRAGMA temp_store = FILE;
    PRAGMA cache_size = -65536;
    CREATE TABLE spelling (query TEXT, text TEXT, pairs INTEGER, PRIMARY KEY (query, text)) WITHOUT ROWID;
    CREATE TABLE cut (query TEXT PRIMARY KEY, shorter TEXT) WITHOUT ROWID;
    CREATE TABLE term (term TEXT, buyer BLOB, PRIMARY KEY (term, buyer)) WITHOUT ROWID;
    CREATE TABLE pair (query TEXT, image TEXT, buyer BLOB, PRIMARY KEY (query, image, buyer)) WITHOUT ROWID;
    CREATE TABLE gone (image TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE kept (query TEXT, image TEXT, buyers INTEGER, PRIMARY KEY (query, image)) WITHOUT ROWID;
"""
_SPELT = "INSERT INTO spelling VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET pairs = pairs + excluded.pairs"
_AT_ONCE = 10_000  # pairs in one write


class PairSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pair and a query need to be kept, and how the photos are split."""

    min_images: Count = 25  # photos of a query; with fewer a head learns the photos by heart, not the word
    min_buyers: Count = 1  # buyers of a pair; 2 and more drop most accidental pairs, and most of the log
    min_query_buyers: Count = 1  # buyers of a query; with 5 and more, no query is one person's words
    min_term_buyers: Count = 1  # buyers of a term; rarer ones (typing errors, names) are cut out of queries
    most_pairs: Count = 1_000  # pairs of a buyer; one with more is a program, and none of them counts
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
        _drop_programs(database, pairs, dropped)
        if pairs.min_term_buyers > 1:
            _cut_rare_terms(database, pairs, dropped)
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
    rows = [(query_key(p.query), p.photo, hashlib.blake2b(p.buyer.encode(), digest_size=8).digest()) for p in pairs]
    before = database.total_changes
    database.executemany("INSERT OR IGNORE INTO pair VALUES (?, ?, ?)", rows)
    known = len(rows) - (database.total_changes - before)
    spellings = Counter((key, p.query) for (key, *_), p in zip(rows, pairs, strict=True))
    database.executemany(_SPELT, ((key, text, count) for (key, text), count in spellings.items()))
    return known


def _drop_programs(database: sqlite3.Connection, settings: PairSettings, dropped: Counter[str]) -> None:
    """Remove the pairs of buyers who have more than a person would."""
    many = "SELECT buyer FROM pair GROUP BY buyer HAVING COUNT(*) > ?"
    dropped["buyer_is_a_program"] += _number(database, f"SELECT COUNT(*) FROM ({many})", settings.most_pairs)
    database.execute(f"DELETE FROM pair WHERE buyer IN ({many})", (settings.most_pairs,))


def _cut_rare_terms(database: sqlite3.Connection, settings: PairSettings, dropped: Counter[str]) -> None:
    """Cut words of few buyers out of the queries; what is left of a query counts with the queries that it equals."""
    asked = database.execute("SELECT DISTINCT query, buyer FROM pair")
    rows = ((term, buyer) for query, buyer in asked for _, found in terms(query) for term in found)
    for some in chunks(rows, _AT_ONCE):
        database.executemany("INSERT OR IGNORE INTO term VALUES (?, ?)", some)
    common = "SELECT COUNT(*) FROM (SELECT 1 FROM term WHERE term = ? LIMIT ?)"
    least = settings.min_term_buyers

    def shorter(query: str) -> str:
        good = [
            word for word, found in terms(query) if all(_number(database, common, t, least) >= least for t in found)
        ]
        return " ".join(good)

    queries = (query for (query,) in database.execute("SELECT DISTINCT query FROM pair"))
    for some in chunks(((query, shorter(query)) for query in queries), _AT_ONCE):
        database.executemany("INSERT INTO cut VALUES (?, ?)", [one for one in some if one[0] != one[1]])
    dropped["query_with_rare_words"] += _number(database, "SELECT COUNT(*) FROM cut")
    database.execute(
        "INSERT OR IGNORE INTO pair SELECT cut.shorter, image, buyer FROM pair JOIN cut ON cut.query = pair.query "
        "WHERE cut.shorter != ''"
    )
    database.execute("DELETE FROM pair WHERE query IN (SELECT query FROM cut)")


def _rename(database: sqlite3.Connection, query: str, shorter: str) -> None:
    """Count the pairs of a query for a shorter one; "" removes them."""
    if shorter:
        database.execute(
            "INSERT OR IGNORE INTO pair SELECT ?, image, buyer FROM pair WHERE query = ?", (shorter, query)
        )
    database.execute("DELETE FROM pair WHERE query = ?", (query,))


def _thin(
    database: sqlite3.Connection, settings: PairSettings, photos: Path | None, dropped: Counter[str]
) -> dict[str, int]:
    """Fill the table `kept`: pairs with enough buyers whose photo exists, of queries with enough photos."""
    few = "SELECT query FROM pair GROUP BY query HAVING COUNT(DISTINCT buyer) < ?"
    dropped["query_of_few_buyers"] += _number(database, f"SELECT COUNT(*) FROM ({few})", settings.min_query_buyers)
    database.execute(f"DELETE FROM pair WHERE query IN ({few})", (settings.min_query_buyers,))
    distinct = _number(database, "SELECT COUNT(*) FROM (SELECT DISTINCT query, image FROM pair)")
    database.execute(
        "INSERT INTO kept SELECT query, image, COUNT(*) FROM pair GROUP BY query, image HAVING COUNT(*) >= ?",
        (settings.min_buyers,),
    )
    left = _number(database, "SELECT COUNT(*) FROM kept")
    dropped["pair_of_few_buyers"] += distinct - left
    if photos is not None:
        images = (image for (image,) in database.execute("SELECT DISTINCT image FROM kept"))
        missing = ((image,) for image in images if not split_shard(photos, image)[0].is_file())
        for some in chunks(missing, _AT_ONCE):
            database.executemany("INSERT INTO gone VALUES (?)", some)
        dropped["photo_not_there"] += _number(database, "SELECT COUNT(*) FROM gone")
        database.execute("DELETE FROM kept WHERE image IN (SELECT image FROM gone)")
    queries = _number(database, "SELECT COUNT(DISTINCT query) FROM kept")
    database.execute(
        "DELETE FROM kept WHERE query IN (SELECT query FROM kept GROUP BY query HAVING COUNT(*) < ?)",
        (settings.min_images,),
    )
    kept = _number(database, "SELECT COUNT(DISTINCT query) FROM kept")
    dropped["query_of_few_photos"] += queries - kept
    photos_kept = _number(database, "SELECT COUNT(DISTINCT image) FROM kept")
    return {"queries": kept, "photos": photos_kept, "pairs": _number(database, "SELECT COUNT(*) FROM kept")}


def _number(database: sqlite3.Connection, query: str, *values: object) -> int:
    return int(database.execute(query, values).fetchone()[0])


def _rows(database: sqlite3.Connection, base: Path, validation: float) -> Iterator[Row]:
    spelt = "SELECT text FROM spelling WHERE query = kept.query ORDER BY pairs DESC, text LIMIT 1"
    found = database.execute(f"SELECT image, COALESCE(({spelt}), query), buyers FROM kept ORDER BY image, query")
    for image, group in groupby(found, key=lambda row: row[0]):
        pairs = list(group)
        yield {
            "path": (base / image).as_posix(),
            "split": split_by_name(image, validation),
            "queries": "|".join(query for _, query, _ in pairs),
            "buyers": str(sum(buyers for *_, buyers in pairs)),
            SOURCE: "query-log",
        }
