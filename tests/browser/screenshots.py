"""The pictures of the page in the documents: real workers, studio products, a real browser.

python -m tests.browser.screenshots docs
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import urllib3
from PIL import Image

from schemas.events import ImageRef, ListingEvent, encode_event
from tests.browser.driver import PHONE, Visitor, visitor
from tests.workers.search.rig import HTTP
from training.studio import DEMO_IDENTITIES, Product, make_product, render

LISTINGS = 48
LOOKED_FOR = 5  # of them: a hat, photographed on a floor beside something else
QUALITY = 82
_START_S = 300
_LOOKS = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}


def jpeg(product: Product, view: int, domain: str, size: tuple[int, int]) -> bytes:
    """A studio photo."""
    file = io.BytesIO()
    pixels = render(product, view, "natural" if domain == "natural" else "iconic", size).pixels
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def event(product: Product) -> ListingEvent:
    """A listing of one photo with title and category, uploaded now."""
    now_us = time.time_ns() // 1000
    return ListingEvent(
        event_id=f"studio-{product.identity}-{now_us}",
        listing_id=f"studio/{product.identity}",
        event_time=now_us,
        type="created",
        images=[ImageRef(image_id="1", data=jpeg(product, 0, "iconic", (400, 300)))],
        title=product.title,
        category=product.category,
    )


def take(visit: Visitor, url: str, out: Path, photo: bytes) -> None:
    """One picture of the start, and one of the results in every look."""
    for look, options in _LOOKS.items():
        with visit(url, reduced_motion="reduce", **options) as v:
            v.page.wait_for_selector("#strip .card")
            if look == "light":
                _shoot(v.page, out / "page-start.jpg")
            v.upload(photo, "photo.jpg")
            v.page.focus("#frame")
            _frame(v)
            v.page.evaluate("document.activeElement.blur()")
            _shoot(v.page, out / f"page-{look}.jpg")


def _frame(v) -> None:
    area, mouse = v.page.locator("#stage").bounding_box(), v.page.mouse
    mouse.move(area["x"] + 0.33 * area["width"], area["y"] + 0.2 * area["height"])
    mouse.down()
    mouse.move(area["x"] + 0.7 * area["width"], area["y"] + 0.7 * area["height"])
    mouse.move(area["x"] + 0.99 * area["width"], area["y"] + 0.88 * area["height"])
    v.searched(mouse.up)
    mouse.move(5, 5)


def _shoot(page, path: Path) -> None:
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1500)  # thumbnails arrive
    page.screenshot(path=path, type="jpeg", quality=QUALITY)


def _ready(home: Path) -> str:
    """Where the page is, once it can search."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            told = json.loads((home / "run" / "search.json").read_text())
            url = f"http://{told['host']}:{told['port']}"
            if HTTP.request("GET", f"{url}/readyz").status == 200:
                return url
        except (OSError, ValueError, urllib3.exceptions.HTTPError):
            continue
    raise SystemExit(f"the workers were not ready within {_START_S} s; see {home}/logs")


def _list(products: list[Product], submit: list[str]) -> None:
    """One listing after the other, as sellers send them: the times on the page are those of single listings."""
    with subprocess.Popen(submit, stdin=subprocess.PIPE) as sending:
        for product in products:
            sending.stdin.write(encode_event(event(product)) + b"\n")
            sending.stdin.flush()
    if sending.returncode:
        raise SystemExit("not every listing became searchable")


def main() -> None:
    """Start the workers, list the products, take the pictures, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    out = parser.parse_args().out
    products = [make_product(identity) for identity in DEMO_IDENTITIES[:LISTINGS]]
    groknet = [sys.executable, "-m", "groknet"]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        workers = subprocess.Popen([*groknet, "run", "all", "--home", str(home), "--port", "0"])
        try:
            url = _ready(home)
            _list(products, [*groknet, "submit", "-", "--home", str(home), "--wait"])
            with visitor() as visit:
                photo = jpeg(products[LOOKED_FOR], 3, "natural", (640, 480))
                take(visit, url, out, photo)
        finally:
            workers.terminate()
            workers.wait(_START_S)


if __name__ == "__main__":
    main()
