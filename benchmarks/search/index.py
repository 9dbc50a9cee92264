"""The live index of a given size, while it is updated: latency, recall, bytes, pauses, restart, and other indexes.

`python -m benchmarks.search.index --codes 1000000 --data FOLDER --out docs/benchmarks/index.md` makes the page.
"""

from __future__ import annotations

import argparse
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from benchmarks.report import page, parser, table, versions, write_page
from benchmarks.search.hash_generator import FITTED, QUANTILES, REAL, Codes, Generator, distances, real_hashes
from benchmarks.search.index_rivals import rivals
from engines.similarity import HashIndex, IndexLimits, Where
from engines.similarity._directory import Directory, Entry, build_directory
from engines.similarity._flat import FlatCodes
from engines.similarity._ivf import learn
from engines.similarity._parts import ALIVE, Sealed
from engines.similarity._profiles import Profile
from schemas.hashes import HashMessage, ImageHash

EPOCH = "0123456789ab"
K = 10
UPDATES_A_S = 500  # listings, of 1 to 5 photos
PHOTOS = 3  # of a listing, in the mean
QUERIES = 500
RARE = 4  # number of the profile of one listing in 64
LARGE = 2_000_000
"""From this many codes on, only inverted lists are measured. Reading all codes takes 10 ms, and the rest hours."""
Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Measured:
    """The measurements of one index under updates, in seconds of each search and update."""

    name: str
    searches: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    """Processor seconds of each search, while `searches` has seconds by the clock."""
    updates: list[float] = field(default_factory=list)
    late: float = 0.0
    merges: int = 0
    recall: float = 0.0
    bytes_a_code: float = 0.0
    resident: float = 0.0
    restart_s: float = 0.0
    snapshot_s: float = 0.0
    built_s: float = 0.0
    filters: str = ""


def listings(count: int, rng: np.random.Generator) -> list[Entry]:
    """Listings of 1 to 5 photos, `count` photos in all."""
    sizes = rng.integers(1, 2 * PHOTOS, count)
    ends = np.cumsum(sizes)
    sizes = sizes[: int(ends.searchsorted(count)) + 1]
    sizes[-1] -= max(0, int(sizes.sum()) - count)
    names = tuple(str(i) for i in range(2 * PHOTOS))
    kept = [(n, size) for n, size in enumerate(sizes.tolist()) if size]
    return [Entry(f"shop/{n:08d}", 1, n % 4 if n % 64 else RARE, names[:size]) for n, size in kept]


def filled(codes: Codes, directory: Directory, limits: IndexLimits) -> HashIndex:
    """An index whose main part holds these codes. It is built as a merge would build it."""
    held = learn(codes, limits) if len(codes) >= limits.exact_below else FlatCodes(codes, limits)
    index = HashIndex(EPOCH, limits)
    profiles = [Profile("m1", state, category) for state in ("active", "sold") for category in ("mug", "cup")]
    profiles.append(Profile("m1", "active", "rare"))
    part = Sealed(directory, held, np.full(len(directory), ALIVE, np.uint32))
    index._listings.fill(profiles, [part], [])
    return index


class Updates(threading.Thread):
    """A writer that keeps to its pace: new listings, changed and removed ones, a third of each kind."""

    def __init__(self, index: HashIndex, codes: Codes, known: int, measured: Measured) -> None:
        super().__init__(daemon=True)
        self._index, self._codes, self._known, self._measured = index, codes, known, measured
        self.stop = threading.Event()

    def run(self) -> None:
        rng, began, at = np.random.default_rng(5), time.perf_counter(), 0
        while not self.stop.is_set():
            for _ in range(10):
                kind, one = int(rng.integers(3)), int(rng.integers(self._known))
                name = f"new/{at}" if kind == 0 else f"shop/{one:08d}"
                message = self._message(name, at + 2, rng)
                start = time.perf_counter()
                if kind == 2:
                    self._index.remove(name, at + 2)
                else:
                    self._index.apply(message)
                self._measured.updates.append(time.perf_counter() - start)
                at += 1
            ahead = began + at / UPDATES_A_S - time.perf_counter()
            self._measured.late = max(self._measured.late, -ahead)
            time.sleep(max(0.0, ahead))

    def _message(self, name: str, at: int, rng: np.random.Generator) -> HashMessage:
        rows = rng.integers(len(self._codes), size=int(rng.integers(1, 2 * PHOTOS)))
        images = [ImageHash(image_id=str(i), hash=self._codes[row].tobytes().hex()) for i, row in enumerate(rows)]
        return HashMessage(
            listing_id=name,
            event_time=at,
            epoch=EPOCH,
            model_version="m1",
            state="active",
            category="mug",
            images=images,
        )


def under_updates(index: HashIndex, name: str, world: World, known: int) -> Measured:
    """Search one hash after another while a writer keeps its pace. Meanwhile all parts are merged at least once."""
    measured = Measured(name)
    before = index._listings.view.sealed
    writer = Updates(index, world.fresh, known, measured)
    writer.start()
    asked, seconds = world.asked, world.seconds
    began, n, whole = time.perf_counter(), 0, False
    while (spent := time.perf_counter() - began) < seconds:
        if spent > seconds / 3 and not whole:
            whole = _begin_whole(index)
        start, worked = time.perf_counter(), time.thread_time()
        index.search(asked[n % len(asked)][None], K, epoch=EPOCH)
        measured.worked.append(time.thread_time() - worked)
        measured.searches.append(time.perf_counter() - start)
        n += 1
        now = index._listings.view.sealed
        measured.merges += now != before
        before = now
    writer.stop.set()
    writer.join()
    index.settle()
    return measured


def _begin_whole(index: HashIndex) -> bool:
    """Begin a merge of all parts as the index itself would. Returns False while another merge is under way."""
    with index._lock:
        if index._merge is not None:
            return False
        index._begin(whole=True)
    threading.Thread(target=index._finish_beside, daemon=True).start()
    return True


def recall(found: Callable[[Codes, int], npt.NDArray[np.int64]], asked: Codes, truth: npt.NDArray[np.int64]) -> float:
    """The share of the k results that are no farther than the true k-th neighbour."""
    hits = 0
    for code, farthest in zip(asked, truth, strict=True):
        answer = found(code[None], K)
        hits += int(((answer >= 0) & (answer <= farthest)).sum())
    return hits / (K * len(asked))


def exact(codes: Codes, asked: Codes) -> npt.NDArray[np.int64]:
    """The distance of the true k-th neighbour of each query, int64 [q] in bits."""
    import faiss

    flat = faiss.IndexBinaryFlat(256)
    flat.add(codes)
    return np.asarray(flat.search(asked, K)[0][:, -1], np.int64)


def living(index: HashIndex) -> Codes:
    """Every code that a search can find."""
    view = index._listings.view
    parts = []
    for part in view.sealed:
        rows = np.arange(len(part.codes))
        parts.append(part.codes.take(rows[part.died[part.directory.slots_of(rows)] > view.generation]))
    for tail in view.tails:
        parts.append(tail.codes[: tail.count][tail.died[: tail.count] > view.generation])
    return np.concatenate(parts)


def ours(codes: Codes, directory: Directory, limits: IndexLimits, name: str, world: World) -> Measured:
    """Build the index, update and search it, compare it, write it and read it back."""
    resident, began = _resident(), time.perf_counter()
    index = filled(codes, directory, limits)
    built_s, resident = time.perf_counter() - began, _resident() - resident
    gc.collect()
    gc.freeze()  # as an indexer's process does
    measured = under_updates(index, name, world, len(directory))
    measured.built_s = built_s
    measured.resident = resident / len(codes) + directory.nbytes / len(codes)  # the columns were there before

    measured.recall = recall(
        partial(_distances, index), world.asked[:QUERIES], exact(living(index), world.asked[:QUERIES])
    )
    measured.bytes_a_code = index.nbytes / sum(len(part.codes) for part in index._listings.view.sealed)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        index.snapshot(path, {})
        index.remove("shop/00000000", 2**40)
        start = time.perf_counter()
        index.snapshot(path, {})
        measured.snapshot_s = time.perf_counter() - start
        size = len(index)
        del index
        start = time.perf_counter()
        restored, _ = HashIndex.restore(path, EPOCH, limits)
        restored.search(world.asked[:1], K, epoch=EPOCH)
        measured.restart_s = time.perf_counter() - start
        if len(restored) != size:
            raise RuntimeError("the snapshot lost codes")
        measured.filters = filters(restored, world.asked)
    return measured


@dataclass(frozen=True, slots=True)
class World:
    """The queries for all indexes, and the updates."""

    asked: Codes
    fresh: Codes
    seconds: float


def _distances(index: HashIndex, code: Codes, k: int) -> npt.NDArray[np.int64]:
    return np.array([n.distance for n in index.search(code, k, epoch=EPOCH)[0]], np.int64)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _ms(seconds: list[float] | Floats, quantile: float) -> str:
    return f"{1000 * float(np.quantile(seconds, quantile)):.2f}"


def _timed(search: Callable[[], object], times: int) -> Floats:
    """Processor seconds of this thread, which other programs on the machine hardly change."""
    spent = []
    for _ in range(times):
        start = time.thread_time()
        search()
        spent.append(time.thread_time() - start)
    return np.array(spent)


def thresholds(codes: Codes, asked: Codes) -> str:
    """Median milliseconds of one search by the kind of the part, at growing sizes."""
    rows = []
    sizes = [n for n in (10_000, 100_000, 250_000, 500_000, 1_000_000) if n <= len(codes)]
    for n in sizes:
        flat = FlatCodes(codes[:n], IndexLimits())
        hashed = FlatCodes(codes[:n], IndexLimits(multihash_from=1))
        lists = learn(codes[:n], IndexLimits())
        cells = []
        for search in _searches(flat, hashed, lists):
            spent = [float(np.median(_timed(lambda s=search, q=q: s(q), 3))) for q in asked[:50, None]]  # type: ignore[misc]
            cells.append(f"{1000 * float(np.median(spent)):.2f}")
        rows.append([f"{n:,}", *cells])
    return table(["codes", "exact, 10", "lists, 10", "exact, radius 12", "multi-hash, radius 12"], rows)


def _searches(flat: FlatCodes, hashed: FlatCodes, lists: object) -> Iterator[Callable[[Codes], object]]:
    yield lambda code: flat.search(code, 84)
    yield lambda code: lists.search(code, 84)  # type: ignore[attr-defined]
    yield lambda code: flat.within(code, 12)
    yield lambda code: hashed.within(code, 12)


def filters(index: HashIndex, asked: Codes) -> str:
    """Milliseconds of a search with filters that admit more and less."""
    rows = []
    admitted = {"all": None, "half": "mug", "a 64th": "rare", "nothing": "hat"}
    for text, category in admitted.items():
        where = None if category is None else Where(frozenset({category}))
        spent = _timed(lambda w=where: index.search(asked[:1], K, epoch=EPOCH, where=w), 50)  # type: ignore[misc]
        rows.append([text, _ms(spent, 0.5), f"{1000 * spent.max():.2f}"])
    return table(["filter admits", "median ms", "slowest ms (the first)"], rows)


def likeness(real: dict[str, tuple[int, ...]], made: dict[str, tuple[int, ...]]) -> str:
    """A table of quantiles of distances, real and generated."""
    rows = []
    for name, generated in made.items():
        rows.append([name, "real", *real[name]])
        rows.append(["", "generated", *generated])
    return table(["bits between", "", *(f"{q:.0%}" for q in QUANTILES)], rows)


def body(options: argparse.Namespace) -> str:
    """The page without its head."""
    real: dict[str, tuple[int, ...]] = distances(real_hashes(options.data, 5000)) if options.data else dict(REAL)
    small = Generator(FITTED, 5000).codes(5000, 1)
    generator = Generator(FITTED, options.codes)
    codes = generator.codes(options.codes, 2)
    world = World(generator.codes(2000, 3), generator.codes(100_000, 4), options.seconds)
    directory, _ = build_directory(listings(options.codes, np.random.default_rng(0)))
    kinds = [("lists", IndexLimits(exact_below=1))]
    if options.codes <= LARGE:
        kinds.insert(0, ("exact", IndexLimits(exact_below=10**9)))
    exact(codes[:100], world.asked[:1])  # FAISS is loaded before memory is looked at
    rows, by_filter = [], ""
    for name, limits in kinds:
        measured = ours(codes, directory, limits, name, world)
        by_filter = measured.filters
        rows.append(_row(measured))
        print(rows[-1], file=sys.stderr, flush=True)
    head = ["index", "p50 ms of processor", "p99", "p50 ms by the clock", "p99", "longest"]
    head += ["R@10", "bytes a code", "resident", "longest update ms", "merges", "built in s", "snapshot s", "restart s"]
    parts = [
        f"## {options.codes:,} codes, {UPDATES_A_S} updates a second, {options.seconds:g} s",
        table(head, rows),
    ]
    if not options.alone:
        parts += beside(codes, world)
    parts += ["## Filters, on inverted lists", by_filter]
    if not options.alone and options.codes <= LARGE:
        parts += ["## Sizes at which the kind changes (median ms of one search)", thresholds(codes, world.asked)]
    parts += ["## The generator and real hashes (5,000 each)", likeness(real, distances(small))]
    return "\n\n".join(parts)


def _row(m: Measured) -> list[object]:
    during = [_ms(m.worked, 0.5), _ms(m.worked, 0.99), _ms(m.searches, 0.5), _ms(m.searches, 0.99)]
    cost = [f"{m.recall:.3f}", f"{m.bytes_a_code:.1f}", f"{m.resident:.0f}"]
    times = [f"{m.built_s:.1f}", f"{m.snapshot_s:.2f}", f"{m.restart_s:.2f}"]
    longest = [f"{1000 * max(m.searches):.1f}", f"{1000 * max(m.updates):.1f}"]
    return [f"GrokNet, {m.name}", *during, longest[0], *cost, longest[1], m.merges, *times]


def beside(codes: Codes, world: World) -> list[str]:
    """The same codes in other indexes."""
    large = len(codes) > LARGE
    lists = 2 ** max(1, round(np.log2(len(codes)) / 2))
    asked = world.asked[: QUERIES // 2 if large else None]
    few = asked[:QUERIES]
    truth = exact(codes, few)
    rows = []
    for rival in rivals(codes, lists, max(128, lists // 16), links=not large):
        spent = [float(_timed(lambda q=q, r=rival: r.search(q, K), 1)[0]) for q in asked[:, None]]  # type: ignore[misc]
        found = recall(rival.search, few, truth)
        quick = [_ms(spent, 0.5), _ms(spent, 0.99), f"{1000 * max(spent):.1f}", f"{found:.3f}"]
        rows.append([rival.name, *quick, f"{rival.bytes_a_code:.1f}", f"{rival.build_s:.1f}", rival.note])
        print(rows[-1], file=sys.stderr, flush=True)
        del rival
    head = ["index", "p50 ms of processor", "p99", "longest", "R@10", "bytes a code", "built in s", ""]
    parts = ["The same codes in other indexes, built once, searched by one thread, without updates:", table(head, rows)]
    if large:
        parts.append("usearch: not run at this size; the page of a million codes says how long it takes to build.")
    return parts


def main() -> None:
    """Measure and write the page."""
    options_of = parser(__doc__, tells="page")
    options_of.add_argument("--codes", type=int, default=1_000_000)
    options_of.add_argument("--seconds", type=float, default=20.0, help="of searching under updates, each kind")
    options_of.add_argument("--alone", action="store_true", help="the live index alone, nothing beside it")
    options_of.add_argument("--data", type=Path, help="folder of photos whose hashes are compared with the generator's")
    options = options_of.parse_args()
    if not options.alone and options.codes <= LARGE:
        import_module("usearch.index")  # from the extra [bench]; better now than after all others were measured
    sys.setswitchinterval(0.001)  # as an indexer's process does
    import faiss

    faiss.omp_set_num_threads(1)  # as a merge does
    command = f"python -m benchmarks.search.index --codes {options.codes} --seconds {options.seconds:g}"
    if options.alone:
        command += " --alone"
    if options.data:
        command += " --data FOLDER"
    write_page(page("The live index", command, versions("faiss-cpu", "usearch", "numpy"), body(options)), options.out)


if __name__ == "__main__":
    main()
