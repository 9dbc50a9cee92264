"""What a project hands to other tools: known boxes with their provenance, read back by the readers of formats."""

from __future__ import annotations

import json
from pathlib import Path

from engines.pixels import Box
from tests.training.boxes.red_boxes import draw
from training.boxes.asking import proposal
from training.boxes.exporting import known_boxes
from training.boxes.formats import read_coco, write_coco
from training.boxes.labels import Guess
from training.boxes.project import Project
from training.boxes.rounds import standing
from training.detection.records import BoxedPhoto
from training.review import Item

BOX, MOVED = (0.1, 0.1, 0.5, 0.5), (0.1, 0.1, 0.5, 0.6)


def test_every_box_says_where_it_came_from(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for name in ("given", "changed", "empty", "skipped", "new"):
        draw(root / f"{name}.png", {BOX: 0.9})
    project = Project.create(tmp_path / "project", root)
    project.give([BoxedPhoto(root / "given.png", (Box(*BOX),), ("mug",))], "first.json")
    (was,) = proposal([Guess(BOX, "mug", 0.625)], "0123456789ab")["boxes"]
    names = ("changed.png", "empty.png", "skipped.png")
    items = [Item(id=n, kind="boxes", photos=(n,), question="?", choices=("right", "skip")) for n in names]
    with project.queue() as queue:
        queue.put(items)
        queue.decide("changed.png", "right", {"boxes": [{"box": MOVED, "kind": "cup", "was": was}]})
        queue.decide("empty.png", "right", {"boxes": []})
        queue.decide("skipped.png", "skip", {"boxes": []})
        photos, facts = known_boxes(project, standing(project, queue))
    assert [photo.path.stem for photo in photos] == ["changed", "empty", "given"]
    write_coco(tmp_path / "out.json", photos, root, facts)
    told = json.loads((tmp_path / "out.json").read_text())["annotations"]
    provenance = [{k: one[k] for k in ("source", "score", "detector", "was", "origin") if k in one} for one in told]
    assert provenance == [
        {
            "source": "corrected",
            "score": 0.625,
            "detector": "0123456789ab",
            "was": "0.1000 0.1000 0.5000 0.5000 mug",
        },
        {"source": "import", "origin": "first.json"},
    ]
    again = read_coco(tmp_path / "out.json", root)
    assert [(photo.path.stem, photo.kinds) for photo in again.photos] == [
        ("changed", ("cup",)),
        ("empty", ()),
        ("given", ("mug",)),
    ]
