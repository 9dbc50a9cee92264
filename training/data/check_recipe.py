"""Check what a recipe names before hours of decoding: the trunk, the folders, and the columns of their tables."""

from __future__ import annotations

import difflib
from pathlib import Path

from schemas.errors import ConfigError
from training.network.lite_shapes import LITE
from training.readers.label_table import read_rows
from training.recipe import STUDIO, DataSet, GenericSet, Recipe, load_recipe
from training.recipe.line_numbers import line_of


def load_checked(path: Path, data: Path) -> Recipe:
    """Read the recipe `path` and check it against the folders and tables under `data`. Photos are not read.

    Raises:
        ConfigError: something is missing; the message names the file, the line to change and the key.
    """
    recipe = load_recipe(path)
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
    """Check folders and columns.

    Raises:
        ConfigError: `datasets[NAME].folder: …` or `heads[ID].column: …`, for the first thing that is missing.
    """
    columns = {}
    for spec in recipe.datasets:
        if spec.reader == STUDIO:
            continue
        if not (data / spec.folder).is_dir():
            raise ConfigError(f"datasets[{spec.name}].folder: there is no folder {data / spec.folder}")
        if spec.reader == "csv":
            columns[spec.name] = _columns(spec, data)
            for what in ("product", "leave_out"):
                _check_column(f"datasets[{spec.name}].{what}", getattr(spec, what), spec.name, columns)
    for one in recipe.generic:
        if not (data / one.folder).is_dir():
            raise ConfigError(f"generic[{one.name}].folder: there is no folder {data / one.folder}")
        if one.reader == "csv":
            columns[one.name] = _columns(one, data)
            _check_column(f"generic[{one.name}].objects", one.objects, one.name, columns)
    for head in recipe.heads:
        for name in head.datasets:
            _check_column(
                f"heads[{head.id}].column", head.column if head.source in ("column", "partition") else "", name, columns
            )


def _columns(spec: DataSet | GenericSet, data: Path) -> set[str]:
    try:
        return set(read_rows(data / spec.folder)[0])
    except ConfigError as error:
        table = "datasets" if isinstance(spec, DataSet) else "generic"
        raise ConfigError(f"{table}[{spec.name}].folder: {error}") from None


def _check_column(what: str, column: str, name: str, columns: dict[str, set[str]]) -> None:
    if column and name in columns and column not in columns[name]:
        there = ", ".join(sorted(columns[name]))
        raise ConfigError(f"{what}: the table of data set {name!r} has no column {column!r}; it has {there}")
