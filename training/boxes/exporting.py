"""The boxes of a project as other tools take them, with the provenance of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.boxes.project import Project, boxed
from training.boxes.rounds import Standing
from training.detection.records import BoxedPhoto

Facts = dict[tuple[Path, int], dict[str, Any]]


def known_boxes(project: Project, now: Standing, *, people_only: bool = False) -> tuple[list[BoxedPhoto], Facts]:
    """The photos whose boxes are all known, and facts about each box: (photo, place of the box) → fields.

    Args:
        project: of the photos.
        now: where it stands.
        people_only: leave out photos that only a detector has looked at.
    """
    photos: list[BoxedPhoto] = []
    facts: Facts = {}
    for path, known in now.photos.items():
        if not known.complete or (people_only and known.state == "confident"):
            continue
        photo = boxed(project.photos, path, (one.box for one in known.entries), (one.kind for one in known.entries))
        photos.append(photo)
        for place, one in enumerate(known.entries):
            fields = {"source": one.source, "score": one.score, "detector": one.detector, "was": one.was}
            fields["origin"] = one.origin
            facts[photo.path, place] = {name: value for name, value in fields.items() if value not in (None, "")}
    return photos, facts
