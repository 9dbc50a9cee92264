"""The picture of the review page in the documents: the first doubtful photo of a labelling project.

python -m tests.browser.review_screenshot PROJECT docs/pictures/review.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.browser.driver import visitor
from training.boxes import Project
from training.review.app import build_review
from training.review.photos import ReviewPhotos
from workers.http.serving import serve

QUALITY = 82


def main() -> None:
    """Open the project's queue, choose a box of its first photo, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    project = Project.open(args.project)
    with project.queue() as queue, visitor() as visit:
        app = build_review(queue, ReviewPhotos(project.photos), title="Boxes of photos", classes=project.classes())
        server = serve(app, "127.0.0.1", 0)
        try:
            with visit(server.url, viewport={"width": 1280, "height": 760}) as v:
                v.page.wait_for_selector(".stage[data-ready]")
                v.page.focus(".box >> nth=0")
                v.page.wait_for_timeout(1500)  # thumbnails arrive
                v.page.screenshot(path=args.out, type="jpeg", quality=QUALITY)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
