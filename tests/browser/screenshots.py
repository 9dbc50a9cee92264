"""The pictures of the search page in the documents: the page of `make demo KEEP=1`, in a real browser.

    python -m tests.browser.screenshots docs/pictures

The photo that is searched for shows one of the demo's products from another side, on a floor beside something else.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from groknet.submitting.demo_listings import products
from tests.browser.driver import PHONE, Visitor, visitor
from training.studio import Product, render

LOOKED_FOR = 5  # of the demo's products: a hat
QUALITY = 82
_LOOKS = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}


def jpeg(product: Product, view: int, size: tuple[int, int]) -> bytes:
    """A studio photo of a product in a room."""
    file = io.BytesIO()
    Image.fromarray(render(product, view, "natural", size).pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def take(visit: Visitor, url: str, out: Path, photo: bytes) -> None:
    """One picture of the start, and one of the results in every look."""
    for look, options in _LOOKS.items():
        with visit(url, reduced_motion="reduce", **options) as v:
            v.page.wait_for_selector("#strip .card")
            if look == "light":
                shoot(v.page, out / "page-start.jpg")
            v.upload(photo, "photo.jpg")
            v.page.focus("#frame")
            _frame(v)
            v.page.evaluate("document.activeElement.blur()")
            shoot(v.page, out / f"page-{look}.jpg")


def _frame(v) -> None:
    area, mouse = v.page.locator("#stage").bounding_box(), v.page.mouse
    mouse.move(area["x"] + 0.33 * area["width"], area["y"] + 0.2 * area["height"])
    mouse.down()
    mouse.move(area["x"] + 0.7 * area["width"], area["y"] + 0.7 * area["height"])
    mouse.move(area["x"] + 0.99 * area["width"], area["y"] + 0.88 * area["height"])
    v.searched(mouse.up)
    mouse.move(5, 5)


def shoot(page, path: Path) -> None:
    """The picture of a page, from its top."""
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1500)  # thumbnails arrive
    page.screenshot(path=path, type="jpeg", quality=QUALITY)


def _address(demo: subprocess.Popen[str]) -> str:
    """Where the page is, once the demo has listed everything and keeps it up."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if found := re.search(r"stays on (http\S+);", line):
            return found[1]
    raise SystemExit(f"the demo ended with {demo.wait()} before its page was up")


@contextmanager
def demo_page(config: str = "") -> Iterator[str]:
    """The address of the demo's page, in a home with this configuration."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "groknet.toml").write_text(config)
        command = [sys.executable, "-m", "groknet", "demo", "--keep", "--home", home]
        wide = os.environ | {"COLUMNS": "200"}  # no line of it is broken
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=wide) as demo:
            try:
                yield _address(demo)
            finally:
                demo.terminate()


def main() -> None:
    """Run the demo, take the pictures of its page, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    out = parser.parse_args().out
    looked_for = products(LOOKED_FOR + 1)[-1]
    with demo_page() as url, visitor() as visit:
        take(visit, url, out, jpeg(looked_for, 3, (640, 480)))


if __name__ == "__main__":
    main()
