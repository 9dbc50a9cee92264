"""Sets photos aside that no detector of the project learns from, before the first one is trained."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import ConfigError
from training.boxes.project import FEWEST, FEWEST_VALIDATION, VALIDATION, Project
from training.boxes.table import PhotoBoxes
from training.detection.records import IGNORED


def set_aside(project: Project, photos: Mapping[str, PhotoBoxes]) -> frozenset[str]:
    """The photos that are set aside, chosen now from those that people labelled if that was not done before. Empty
    while these are too few.

    Args:
        project: that remembers the choice.
        photos: path → what is known.
    """
    return project.validation(_labelled(photos))


def enough_set_aside(project: Project, photos: Mapping[str, PhotoBoxes]) -> frozenset[str]:
    """`set_aside`, with enough boxes to choose thresholds by.

    Raises:
        ConfigError: too few photos or boxes.
    """
    labelled, chosen = _labelled(photos), set_aside(project, photos)
    if sum(labelled.get(path, 0) for path in chosen) >= FEWEST:
        return chosen
    if chosen:
        raise ConfigError(
            f"validation: the {len(chosen)} photos that are set aside have fewer than {FEWEST} boxes, which are too "
            "few to choose thresholds by. Add boxes to them with `groknet boxes import`, or remove "
            f"{project.folder / VALIDATION}, so that others are chosen, and train with --fresh"
        )
    raise ConfigError(
        f"validation: people have labelled {len(labelled)} photos with {sum(labelled.values())} boxes, which are too "
        f"few. The share {project.settings.validation:g} of these photos is set aside to choose thresholds by, and has "
        f"to be {FEWEST_VALIDATION} photos with {FEWEST} boxes or more. Draw more with `groknet boxes review`, or "
        "import some"
    )


def _labelled(photos: Mapping[str, PhotoBoxes]) -> dict[str, int]:
    """Photo that people labelled → how many of its boxes count."""
    return {
        path: sum(one.kind != IGNORED for one in photo.entries)
        for path, photo in photos.items()
        if photo.state in ("given", "reviewed")
    }
