"""The listings of the demo, which show studio products that training never used, and the text about each."""

from __future__ import annotations

import io
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image
from rich.text import Text

from groknet.submitting.outcomes import Outcome
from schemas.events import ImageRef, ListingEvent
from schemas.manifest import Head, Manifest
from schemas.predictions import Predictions, StoredListing, Summary
from training.studio import DEMO_IDENTITIES, Product, make_product, render
from workers.search.find.labels.usefulness import Usefulness

SIZE = (400, 300)  # width and height in pixels, as on the page; 800 x 600 has no more detail and takes twice as long
_QUALITY = 85
PRODUCER = "groknet demo"
_INDENT = "\n        "
_COLUMNS, _LINES = 110, 2  # of text about heads under each listing
_AHEAD = 4  # photos that are drawn before they are sent
_ATTRIBUTES = ("category", "colour", "material", "pattern")


def listing_id_of(product: Product) -> str:
    """The listing id of a studio product."""
    return f"demo/{product.identity}"


def products(count: int) -> list[Product]:
    """`count` of the demo's identities, the same ones each time."""
    return [make_product(identity) for identity in DEMO_IDENTITIES[:count]]


def photo_of(product: Product, view: int) -> bytes:
    """A photo of a product from one of its views, as JPEG bytes."""
    file = io.BytesIO()
    Image.fromarray(render(product, view, size=SIZE).pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def event_of(product: Product, data: bytes) -> ListingEvent:
    """The event of a listing with one inline photo (`data`: JPEG bytes), uploaded now."""
    now_us = time.time_ns() // 1000
    return ListingEvent(
        event_id=f"demo-{product.identity}-{now_us}",
        listing_id=listing_id_of(product),
        event_time=now_us,
        type="created",
        images=[ImageRef(image_id="1", data=data)],
        title=product.title,
        category=product.category,
        producer=PRODUCER,
    )


def draw(wanted: list[Product]) -> Iterator[tuple[Product, bytes] | None]:
    """Yield each product with a photo as JPEG bytes. A thread draws them. Yields None while the next is being drawn."""
    done: queue.Queue[tuple[Product, bytes]] = queue.Queue(_AHEAD)

    def work() -> None:
        for product in wanted:
            done.put((product, photo_of(product, view=0)))

    thread = threading.Thread(target=work, name="studio", daemon=True)
    thread.start()
    for _ in wanted:
        while True:
            try:
                yield done.get(timeout=0.02)
                break
            except queue.Empty:
                if not thread.is_alive() and done.empty():
                    raise RuntimeError("the studio stopped drawing; see above") from None
                yield None


@dataclass(slots=True)
class Score:
    """Counts how often the best label of a studio head is that of the product."""

    right: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    total: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, manifest: Manifest, predictions: Predictions, product: Product) -> None:
        """Count one listing."""
        for head in manifest.heads:
            if head.datasets != ["studio"] or head.column not in _ATTRIBUTES or not predictions.get(head.id):
                continue
            values = {label.id: label.value for label in head.labels}
            truth = {name: getattr(product, name) for name in _ATTRIBUTES}[head.column]
            self.total[head.column] += 1
            self.right[head.column] += values.get(predictions[head.id][0].label) == truth

    def __str__(self) -> str:
        return ", ".join(f"{name} {self.right[name]}/{n}" for name, n in self.total.items())


def describe(manifest: Manifest, heads: Usefulness, entry: StoredListing, outcome: Outcome, place: str) -> Text:
    """Describe a listing in at most three lines: times in seconds, then the best label of as many heads as fit.

    Only labels that are offered are shown, the most useful head first. If none is offered, the line says so, and
    guesses of the heads that apply follow.
    """
    text = Text()
    text.append(f"{place} ", style="dim")
    text.append(entry.listing_id, style="bold")
    text.append(f"  {entry.event.title}" if entry.event.title else "", style="italic")
    text.append(f"  stored {_seconds(outcome.stored_s)}, searchable {_seconds(outcome.searchable_s)}", style="cyan")
    if outcome.status != "searchable":
        text.append(f"  {outcome.status}", style="red")
    return _with_best_labels(text, manifest, heads, entry.summary)


def _with_best_labels(text: Text, manifest: Manifest, heads: Usefulness, summary: Summary) -> Text:
    """`text` with the best label of each head that applies, in two more lines at most."""
    known = {head.id: head for head in manifest.heads}
    applying = heads.applying(summary.predictions, summary.applies)
    order = [head for head in heads.order(summary.predictions, summary.applies) if head in applying and head in known]
    best = {head: labels[0] for head in order if (labels := summary.predictions[head])}
    sure = {head: one for head, one in best.items() if one.offered}
    parts = [
        (
            f"{'' if sure else 'perhaps '}{head} {_name(known[head], one.label)} {one.probability:.2f}",
            "bold" if sure else "dim",
        )
        for head, one in (sure or best).items()
    ]
    if not sure:
        parts.insert(0, ("nothing known for sure", ""))
    elif len(sure) < len(best):
        parts.append((f"{len(best) - len(sure)} unsure", "dim"))
    line = 0
    for i, (words, style) in enumerate(parts):
        if not i or line + len(words) > _COLUMNS:
            if i and text.plain.count("\n") == _LINES:
                return text.append(f" · {len(parts) - i} more heads", "dim")
            text.append(_INDENT)
            line = 0
        else:
            text.append(" · ", "dim")
        text.append(words, style)
        line += len(words) + 3
    return text


def _name(head: Head, label_id: str) -> str:
    for label in head.labels:
        if label.id == label_id:
            return label.display.get("en", label.value)
    return label_id


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
