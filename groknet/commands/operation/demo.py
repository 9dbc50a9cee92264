"""`groknet demo`: start all workers on this machine, stream listings through them, and print the results."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from groknet.cli.exits import Exit
from groknet.cli.options import BundleOption
from groknet.cli.own_command import own_command
from groknet.cli.terminal import note, stdout
from groknet.commands.listings.search import ask_service
from groknet.commands.listings.submit import percentile
from groknet.commands.operation.run import STOP_BUDGET_S, page_url, specs
from groknet.home.config import Loaded, load_config
from groknet.home.epochs import in_force
from groknet.home.hidden_heads import check_start
from groknet.home.paths import Home
from groknet.home.running import SUPERVISOR, Lock
from groknet.run.background import Background
from groknet.run.open_back_ends import open_store, open_stream
from groknet.run.supervisor import Supervisor
from groknet.submitting.demo_listings import Score, describe, draw, event_of, listing_id_of, photo_of, products
from groknet.submitting.outcomes import IndexView, Outcome, Tracker, indexer_urls
from groknet.submitting.photo_events import find_photos, photo_event
from groknet.submitting.send import Outgoing, Sender, outgoing
from schemas.manifest import Manifest, load_manifest
from schemas.predictions import StoredListing
from training.studio import Product
from workers.search.find.labels.usefulness import Usefulness

_READY_S = 90.0  # a cold start on two busy cores takes ten
_GIVE_UP_S = 60.0
_QUERIES = 10


def demo(
    *,
    photos: Annotated[list[Path] | None, Parameter(help="Folders of your own photos, to stream as well.")] = None,
    listings: Annotated[
        int, Parameter(help="Number of sample listings to stream.", validator=validators.Number(gte=1, lte=20_000))
    ] = 60,
    keep: Annotated[bool, Parameter(negative=(), help="Keep the search page up until Ctrl-C.")] = False,
    port: Annotated[int, Parameter(help="Port of the search page; 0 means any free port.")] = 0,
    home: Annotated[Path, Parameter(help="Folder for the data of the demo.")] = Path(".demo"),
    bundle: BundleOption = None,
) -> Exit:
    """Start tagger, indexer and search, stream sample listings through them, print the predictions and a summary, stop.

    The sample listings are rendered images of products that were not in the training data. Two times are measured:
    from sending a listing until its predictions are stored, and until a search finds its photo.
    """
    place = Home(home.absolute()).make()
    loaded = load_config(place, bundle=bundle)
    with open_store(loaded) as store:
        loaded = in_force(loaded, store)
    manifest = load_manifest(Path(loaded.config.engine.bundle))
    check_start(loaded)
    own = find_photos([path.expanduser() for path in photos or []])  # some shells keep the ~ of PHOTOS=~/pictures
    signal.signal(signal.SIGTERM, _interrupt)
    lock = Lock(place, SUPERVISOR)
    supervisor = Supervisor(place, specs(loaded, port), note)
    page = page_url(loaded, supervisor)
    background = Background(supervisor)
    try:
        background.wait_until_ready(_READY_S)
        stdout().print(f"search page: {page.url}   model {manifest.model_version}\n")
        roots = [Path(root) for root in loaded.config.intake.allowed_roots]
        extra = [outgoing(photo_event(photo, place.uploads, roots)) for photo in own]
        show = _Show(loaded, manifest, background)
        show.stream(products(listings), extra)
        show.summary()
        commands = look_again(place, bundle, show.first, keep=keep)
        stdout().print("\nto look at it:\n" + "\n".join(f"  {command}" for command in commands))
        if keep:
            note(f"the search page stays on {page.url}; Ctrl-C ends it")
            while True:
                background.check()
                time.sleep(0.2)
    except KeyboardInterrupt:
        return Exit.OK if keep else Exit.INTERRUPTED
    finally:
        background.stop(STOP_BUDGET_S)
        lock.release()
    return Exit.OK if show.good else Exit.FAILED


def look_again(home: Home, bundle: Path | None, listing_id: str, *, keep: bool) -> list[str]:
    """The commands that show what the demo has done, in the order in which they can be typed.

    A home with Kafka and Cassandra of its own needs them up. Workers that are kept need not be started again.
    """
    place: list[str | Path] = ["--home", home.root]
    chosen: list[str | Path] = [] if bundle is None else ["--bundle", bundle.absolute()]
    services = (home.root / "services.json").exists()
    return [
        *([own_command("services", "up", *place)] if services else []),
        own_command("show", *place, listing_id),
        *([] if keep else [own_command("run", "all", *place, *chosen) + "   # the search page, until Ctrl-C"]),
        *([own_command("services", "down", *place)] if services else []),
    ]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class _Show:
    """Sends listings, follows them, prints the results and counts them."""

    def __init__(self, loaded: Loaded, manifest: Manifest, background: Background) -> None:
        self._loaded = loaded
        self._manifest = manifest
        self._background = background
        self._products: dict[str, Product] = {}
        self._heads = Usefulness(manifest, loaded.config.search.category_columns, loaded.config.search.hidden_heads)
        self._outcomes: list[Outcome] = []
        self._score = Score()
        self._total = 0
        self._seconds = 0.0

    @property
    def first(self) -> str:
        """The id of the first listing of the demo."""
        return next(iter(self._products))

    @property
    def good(self) -> bool:
        """True when every studio listing became searchable."""
        found = {o.listing_id for o in self._outcomes if o.status == "searchable"}
        return self._products.keys() <= found

    def stream(self, studio: list[Product], extra: list[Outgoing]) -> None:
        """Send everything and print each listing as it becomes searchable."""
        home, configured = self._loaded.home, self._loaded.config.search.indexer_urls
        self._products = {listing_id_of(product): product for product in studio}
        self._total = len(studio) + len(extra)
        with ExitStack() as stack:
            stream = stack.enter_context(open_stream(self._loaded, "demo"))
            producer, admin = stream.producer(), stream.admin()
            stack.callback(producer.close)
            stack.callback(admin.close)
            store = self._store = stack.enter_context(open_store(self._loaded))
            index = IndexView(lambda: indexer_urls(home, configured, store))
            tracker = Tracker(store, admin, index, _GIVE_UP_S)
            sender = Sender(producer)
            began = time.monotonic()
            for drawn in draw(studio):
                self._background.check()
                if drawn is not None:
                    self._send(sender, tracker, outgoing(event_of(*drawn)))
                self._print(tracker.poll())
            for item in extra:
                self._send(sender, tracker, item)
                self._print(tracker.poll())
            sender.flush()
            for outcome in tracker.drain():
                self._background.check()
                self._print([outcome])
            self._seconds = time.monotonic() - began

    def _send(self, sender: Sender, tracker: Tracker, item: Outgoing) -> None:
        sender.send(item)
        tracker.sent(item)

    def _print(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self._outcomes.append(outcome)
            name = outcome.listing_id or "?"
            entry = self._store.get([name]).get(name)
            place = f"{len(self._outcomes):>3}/{self._total}"
            if not isinstance(entry, StoredListing):
                stdout().print(f"{place} {name}  {outcome.status}")
                continue
            stdout().print(describe(self._manifest, self._heads, entry, outcome, place))
            if name in self._products:
                self._score.add(self._manifest, entry.summary.predictions, self._products[name])

    def summary(self) -> None:
        """Print counts, times and studio accuracy, and whether another view of a product finds it."""
        print = stdout().print
        found = sum(o.status in ("searchable", "partial") for o in self._outcomes)
        total = f"\n{found} of {self._total} listings searchable in {self._seconds:.1f} s, drawing included"
        print(total, style="bold")
        for name, values in (
            ("upload → stored", [o.stored_s for o in self._outcomes if o.stored_s is not None]),
            ("upload → searchable", [o.searchable_s for o in self._outcomes if o.searchable_s is not None]),
        ):
            if values:
                print(f"{name:<20} p50 {percentile(values, 50):.2f} s   p95 {percentile(values, 95):.2f} s")
        print(f"{'throughput':<20} {len(self._outcomes) / max(self._seconds, 1e-9):.1f} listings/s")
        if self._score.total:
            print(f"{'right best label':<20} {self._score}   (products that training never drew)")
        hits, asked = self._search_again()
        print(f"{'search by photo':<20} {hits} of {asked} photos from another side found their own listing first")

    def _search_again(self) -> tuple[int, int]:
        """Search with photos of other views of the first products. Returns how many find their own listing first, and
        how many were asked."""
        wanted = list(self._products.items())[:_QUERIES]
        hits = 0
        for listing, product in wanted:
            answer = ask_service(self._loaded.home, photo_of(product, view=1), "image/jpeg", k=1)
            hits += [n["listing_id"] for n in answer["neighbours"]] == [listing]
        return hits, len(wanted)
