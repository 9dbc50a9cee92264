"""card.md of a detector bundle: what it is, how it was made and how well it does, written from measured figures."""

from __future__ import annotations

import math
from collections.abc import Mapping

from schemas.detector_manifest import DetectorManifest
from training.detection.figures import SetFigures
from training.detection.recipe import DetectorRecipe


def card_text(manifest: DetectorManifest, recipe: DetectorRecipe, figures: Mapping[str, SetFigures]) -> str:
    """The card as Markdown."""
    facts = manifest.training
    lines = [
        f"# {manifest.model_version}",
        "",
        "Finds the products in a photo: boxes with a score and a kind, the most confident first. Made by",
        "",
        f"```sh\n{facts.command.replace(' && ', chr(10))}\n```",
        "",
        f"with the recipe `{facts.recipe}`: {facts.notes.get('steps', 0):.0f} steps, each of {recipe.batch} photos in"
        f" {facts.notes.get('processes', 1):.0f} processes, in {facts.seconds / 60:.0f} minutes on"
        f" {facts.hardware or 'unknown hardware'}.",
        *(["", str(facts.notes["remark"])] if "remark" in facts.notes else []),
        "",
        f"- Input: {manifest.preprocess.width} x {manifest.preprocess.height} pixels, RGB, the photo squashed to it.",
        f"- Output: at most {manifest.nms.most} boxes with a score of at least {manifest.nms.score:g}; of two boxes",
        f"  that overlap by an IoU above {manifest.nms.overlap:g}, the more confident one.",
        f"- Kinds ({len(manifest.kinds)}): {', '.join(manifest.kinds)}. A box whose kind is not clear is a `product`.",
        "",
        "## Trained on",
        "",
        *(f"- {name}: {count} photos. {_about(recipe, name)}" for name, count in facts.photos.items()),
        "",
        "The photos are not part of the bundle. The parity photos are rendered.",
    ]
    if figures:
        lines += ["", "## Measured on test photos", "", *table(figures)]
    return "\n".join(lines) + "\n"


def table(figures: Mapping[str, SetFigures]) -> list[str]:
    """The figures as lines of a Markdown table."""
    columns = ("photos", "number", "boxes", "AP@.5", "AP@.5:.95", "best box right", "kind right")
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, one in figures.items():
        values = " | ".join(_share(value) for value in (one.ap50, one.ap, one.subject, one.kind))
        rows.append(f"| {name} | {one.photos} | {one.boxes} | {values} |")
    return rows


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}".lstrip("0") if value < 1 else "1.000"


def _about(recipe: DetectorRecipe, name: str) -> str:
    return next((one.about for one in recipe.datasets if one.name == name), "")
