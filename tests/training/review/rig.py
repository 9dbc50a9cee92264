"""A review service on photos of coloured rectangles, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw

from training.review import Item, Queue
from training.review.app import build_review
from training.review.photos import ReviewPhotos
from workers.http.serving import Server, serve


def photo(path: Path, boxes: Sequence[tuple[float, float, float, float]] = (), size=(320, 240)) -> None:
    """A JPEG with a red rectangle for each box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (222, 224, 226))
    draw = ImageDraw.Draw(image)
    for left, top, right, bottom in boxes:
        draw.rectangle((left * size[0], top * size[1], right * size[0] - 1, bottom * size[1] - 1), fill=(200, 30, 40))
    image.save(path, quality=92)


def proposed(*boxes: tuple[float, float, float, float], kind="mug", score=0.6) -> dict:
    return {"boxes": [{"box": list(box), "kind": kind, "score": score, "source": "0123456789ab"} for box in boxes]}


def boxes_item(path: str, *boxes, **changes) -> Item:
    return Item(
        id=path,
        kind="boxes",
        photos=(path,),
        question="Are all boxes right?",
        choices=("right", "skip"),
        proposal=proposed(*boxes),
        **changes,
    )


@contextmanager
def review(folder: Path, root: Path, items: Sequence[Item] | None = None, classes=("mug", "vase")) -> Iterator[Server]:
    """The service on a queue in `folder`; items None keeps those that are there."""
    with Queue(folder) as queue:
        if items is not None:
            queue.put(items)
        app = build_review(queue, ReviewPhotos(root), title="Mugs", classes=classes)
        server = serve(app, "127.0.0.1", 0)
        try:
            yield server
        finally:
            server.stop()
