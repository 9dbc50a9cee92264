"""The picture of a choice between products in the documents: the page of the demo with the small detector.

    python -m tests.browser.boxes_screenshot docs/pictures/page-boxes.jpg

The photo is drawn by the studio. It shows several of the demo's products on one floor.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image

from groknet.submitting.demo_listings import products
from tests.browser.driver import visitor
from tests.browser.screenshots import demo_page, shoot
from training.studio import render_several

SHOWN = (5, 0, 3)  # of the demo's products
VIEW = 0
CHOSEN = 1  # of the boxes, the most confident first
DETECTOR = Path(__file__).parents[2] / "training" / "bundles" / "detector"


def scene() -> bytes:
    """A studio photo of several of the demo's products, as a JPEG."""
    made = products(max(SHOWN) + 1)
    file = io.BytesIO()
    Image.fromarray(render_several([made[i] for i in SHOWN], VIEW, (640, 480)).pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def main() -> None:
    """Run the demo with a detector, choose a product of the photo, take the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the file to write")
    out = parser.parse_args().out
    config = f'[detect]\nbundle = "{DETECTOR}"\n'
    with demo_page(config) as url, visitor() as visit, visit(url, reduced_motion="reduce") as v:
        v.page.wait_for_selector("#strip .card")
        v.upload(scene(), "photo.jpg")
        v.searched(lambda: v.page.locator("#found button").nth(CHOSEN).click())
        v.page.mouse.move(5, 5)
        v.page.evaluate("document.activeElement.blur()")
        shoot(v.page, out)


if __name__ == "__main__":
    main()
