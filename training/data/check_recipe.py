"""Check what a recipe names before hours of decoding: the trunk, the data sets, their columns and their labels."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path

from schemas.errors import ConfigError
from training.data.labels import check_labels
from training.data.photos import left_out
from training.network.lite_shapes import LITE
from training.readers import cautions, read
from training.readers.cautions import nothing_to_learn
from training.readers.label_table import Row
from training.recipe import STUDIO, DataSet, GenericSet, Recipe, load_recipe
from training.recipe.line_numbers import line_of

log = logging.getLogger(__name__)


def load_checked(path: Path, data: Path) -> Recipe:
    """Read the recipe `path` and check it against the data sets under `data`. No photo is opened.

    Raises:
        ConfigError: something is missing; the message names the file, the line to change and the key.
    """
    recipe = load_recipe(path)
    if recipe.trains_a_replaced_hash_layer:
        log.warning(
            "losses of the hash train a layer that hash_layer = %r replaces, so they shape the embedding alone; set "
            "metric.hash = 0 to save their time, or hash_layer = 'trained' to keep the layer",
            recipe.hash_layer,
        )
    try:
        _check_trunk(recipe)
        check_data(recipe, data)
    except ConfigError as error:
        line = line_of(Path(path).read_text(encoding="utf-8"), str(error))
        raise ConfigError(f"recipe {path}{f', line {line}' if line else ''}: {error}") from None
    return recipe


def _check_trunk(recipe: Recipe) -> None:
    if recipe.trunk not in LITE:
        import timm

        if not timm.is_model(recipe.trunk):
            near = difflib.get_close_matches(recipe.trunk, timm.list_models(), 3)
            hint = f"; similar ones are {', '.join(near)}" if near else ""
            raise ConfigError(f"trunk: {recipe.trunk!r} is no model of timm{hint}")


def check_data(recipe: Recipe, data: Path) -> None:
    """Read every data set as training will, and check folders, splits, columns and labels.

    Raises:
        ConfigError: `datasets[NAME].folder: …` or `heads[ID].column: …`, for the first thing that is wrong.
    """
    rows = {spec.name: _rows(spec, data) for spec in recipe.datasets if spec.reader != STUDIO}
    columns = {name: {column for row in some for column in row} for name, some in rows.items()}
    for spec in recipe.datasets:
        for what in ("product", "leave_out"):
            _check_column(f"datasets[{spec.name}].{what}", getattr(spec, what), spec.name, columns)
    for one in recipe.generic:
        columns[one.name] = {column for row in _rows(one, data) for column in row}
        _check_column(f"generic[{one.name}].objects", one.objects, one.name, columns)
    for head in recipe.heads:
        for name in head.datasets:
            _check_column(
                f"heads[{head.id}].column", head.column if head.source in ("column", "partition") else "", name, columns
            )
    for spec in recipe.datasets:
        rows |= {spec.name: [left_out(spec, row) for row in rows[spec.name]]} if spec.name in rows else {}
    for head in recipe.heads:
        if head.source != "imagenet" and all(name in rows for name in head.datasets):  # the studio is not drawn yet
            check_labels(head, (row for name in head.datasets for row in rows[name]))


def _rows(spec: DataSet | GenericSet, data: Path) -> list[Row]:
    folder, key = data / spec.folder, "datasets" if isinstance(spec, DataSet) else "generic"
    if not folder.is_dir():
        raise ConfigError(f"{key}[{spec.name}].folder: there is no folder {folder}")
    try:
        found = read(spec.reader, folder, spec.validation)
    except ConfigError as error:
        raise ConfigError(f"{key}[{spec.name}].folder: {error}") from None
    if isinstance(spec, DataSet) and (why := nothing_to_learn(found.rows)):
        raise ConfigError(f"{key}[{spec.name}].folder: {folder}: {why}")
    for text in (*found.notes, *cautions(found.rows)):
        log.warning("%s: %s", spec.name, text)
    return found.rows


def _check_column(what: str, column: str, name: str, columns: dict[str, set[str]]) -> None:
    if column and name in columns and column not in columns[name]:
        there = ", ".join(sorted(columns[name]))
        raise ConfigError(f"{what}: the table of data set {name!r} has no column {column!r}; it has {there}")
