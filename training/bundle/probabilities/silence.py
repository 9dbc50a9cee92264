"""Heads that cannot offer anything because too few validation photos have their labels: one sentence for each.

`groknet data check`, `train`, `export`, the card and the HTML report say it, so that silence has a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from schemas.manifest import Head, Manifest
from training.bundle.probabilities.thresholds import least_photos
from training.readers import read
from training.readers.label_table import Row, is_catalogue
from training.readers.query_words import QUERY_COLUMN, query_words
from training.recipe import STUDIO, Recipe

TARGET = 0.9  # the precision of a recipe that names none
LEAST_PHOTOS = 50  # of validation: with fewer, a table and a threshold are no better than a guess


def needed(precision: float) -> int:
    """Validation photos from which on a head may offer something."""
    return max(LEAST_PHOTOS, least_photos(precision))


def sentence(head: str, photos: int, precision: float) -> str:
    """Why a head offers nothing, or "" if it has enough validation photos."""
    missing = needed(precision) - photos
    if missing <= 0:
        return ""
    return (
        f"{head}: nothing will be offered, because {photos} photos with its labels can find a threshold; "
        f"{missing} more are missing for precision {precision:g}"
    )


def judging_splits(recipe: Recipe) -> tuple[str, ...]:
    """The splits whose photos find thresholds: `val`, and `train` if each photo is judged by what others taught."""
    return ("val", "train") if recipe.judges_all_photos else ("val",)


def labelled(rows: Iterable[Row], column: str, splits: Collection[str] = ("val",)) -> int:
    """How many photos of these splits have a value in the column."""
    return sum(
        row.get("split") in splits
        and not is_catalogue(row)
        and bool(query_words(row) if column == QUERY_COLUMN and column not in row else row.get(column))
        for row in rows
    )


def silences(
    manifest: Manifest,
    rows: Mapping[str, Sequence[Row]],
    seen: Mapping[str, Sequence[Row]] | None = None,
    splits: Collection[str] = ("val",),
) -> list[str]:
    """The sentences of a bundle's heads. `seen` replaces the rows of a data set by those that were looked at; photos of
    `splits` found the thresholds."""
    used = {**rows, **(seen or {})}
    return [text for head in manifest.heads if head.datasets and (text := _of_head(head, used, splits))]


def _of_head(head: Head, rows: Mapping[str, Sequence[Row]], splits: Collection[str]) -> str:
    photos = sum(labelled(rows.get(name, ()), head.column, splits) for name in head.datasets)
    few = sentence(head.id, photos, head.target_precision)
    if few or head.threshold < 1 or any(t < 1 for t in head.label_thresholds.values()):
        return few
    return (
        f"{head.id}: nothing will be offered, because no probability was surely right in {head.target_precision:g} of "
        f"its cases on {photos} validation photos; more photos or a better head are missing"
    )


def silences_of_recipe(recipe: Recipe, data: Path) -> list[str]:
    """The sentences of a recipe's heads before training. Heads with rendered photos have as many as they need.

    Raises:
        ConfigError: a data set cannot be read.
    """
    sets = {spec.name: spec for spec in recipe.datasets}
    rendered = {name for name, spec in sets.items() if spec.reader == STUDIO}
    heads = [head for head in recipe.heads if head.datasets and not rendered & {*head.datasets}]
    wanted = {name for head in heads for name in head.datasets}
    rows = {n: read(sets[n].reader, data / sets[n].folder, sets[n].validation).rows for n in sorted(wanted)}
    found = []
    for head in heads:
        photos = sum(labelled(rows[name], head.column, judging_splits(recipe)) for name in head.datasets)
        found.append(sentence(head.id, photos, recipe.target_precision))
    return [text for text in found if text]
