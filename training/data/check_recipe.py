"""Check what a recipe names before hours of decoding: the trunk, the data sets, their columns and their labels.

Everything that is wrong is said at once, and nothing here needs torch, so the answer comes within a second or two.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from schemas.errors import ConfigError
from training.data.label_values import check_labels
from training.data.photos import left_out
from training.network.lite_shapes import LITE, OPEN_CLIP
from training.readers import cautions, read
from training.readers.cautions import nothing_to_learn
from training.readers.label_table import Row
from training.recipe import STUDIO, DataSet, GenericSet, Recipe, load_recipe
from training.recipe.line_numbers import told

log = logging.getLogger(__name__)
_REGISTERED = re.compile(r"^@register_model\s*\ndef (\w+)\(", re.MULTILINE)


def load_checked(path: Path, data: Path) -> Recipe:
    """Read the recipe `path` and check it against the data sets under `data`. No photo is opened.

    Raises:
        ConfigError: something is missing. The message has a line for each mistake; each names the file, the line to
            change and the key.
    """
    recipe = load_recipe(path)
    if recipe.trains_a_replaced_hash_layer:
        log.warning(
            "losses of the hash train a layer that hash_layer = %r replaces, so they shape the embedding alone; set "
            "metric.hash = 0 to save their time, or hash_layer = 'trained' to keep the layer",
            recipe.hash_layer,
        )
    found = [*_of_trunk(recipe), *_of_data(recipe, data)]
    if recipe.weights and not (data / recipe.weights).is_file():
        found.append(f"weights: there is no file {data / recipe.weights}")
    if found:
        raise ConfigError(told(path, Path(path).read_text(encoding="utf-8"), found))
    return recipe


def check_data(recipe: Recipe, data: Path) -> None:
    """Read every data set as training will, and check folders, splits, columns and labels.

    Raises:
        ConfigError: `datasets[NAME].folder: …` or `heads[ID].column: …`, a line for everything that is wrong.
    """
    if found := list(_of_data(recipe, data)):
        raise ConfigError("\n".join(found))


def _of_trunk(recipe: Recipe) -> Iterator[str]:
    for key, name in (("trunk", recipe.trunk), ("distillation.trunk", recipe.distillation.trunk)):
        if name.startswith(OPEN_CLIP):
            if find_spec("open_clip") is None:
                yield f"{key}: {name!r} needs open_clip; pip install 'groknet[clip]'"
            continue
        models = timm_models() if name not in LITE else frozenset[str]()
        if name not in LITE and name.split(".")[0] not in models:
            near = difflib.get_close_matches(name, [*sorted(models), *LITE], 3)
            hint = f"; similar ones are {', '.join(near)}" if near else ""
            yield f"{key}: {name!r} is no model of timm{hint}"


@cache
def timm_models() -> frozenset[str]:
    """The names of all models of timm, read from its source: importing it takes seconds, and torch.

    Raises:
        ConfigError: timm is not installed.
    """
    found = find_spec("timm")
    if found is None or not found.submodule_search_locations:
        raise ConfigError("trunk: models of timm need the package; pip install 'groknet[train]'")
    files = (Path(found.submodule_search_locations[0]) / "models").glob("*.py")
    return frozenset(name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8")))


def _of_data(recipe: Recipe, data: Path) -> Iterator[str]:
    rows: dict[str, list[Row]] = {}
    columns: dict[str, set[str]] = {}
    sets: list[DataSet | GenericSet] = [*recipe.datasets, *recipe.generic]
    for spec in sets:
        if isinstance(spec, DataSet) and spec.reader == STUDIO:
            continue
        try:
            found = _rows(spec, data, calibrates=not recipe.judges_all_photos)
        except ConfigError as error:
            yield str(error)
            continue
        columns[spec.name] = {column for row in found for column in row}
        if isinstance(spec, DataSet):
            rows[spec.name] = found
    good = True
    for what, column, name in _columns(recipe):
        if column and name in columns and column not in columns[name]:
            there = ", ".join(sorted(columns[name]))
            yield f"{what}: the table of data set {name!r} has no column {column!r}; it has {there}"
            good = False
    if not good:
        return
    try:
        rows |= {d.name: [left_out(d, row) for row in rows[d.name]] for d in recipe.datasets if d.name in rows}
    except ConfigError as error:
        yield str(error)
        return
    for head in recipe.heads:
        if head.source != "imagenet" and all(name in rows for name in head.datasets):  # the studio is not drawn yet
            try:
                check_labels(head, (row for name in head.datasets for row in rows[name]))
            except ConfigError as error:
                yield str(error)


def _columns(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Every column that a recipe names: key, column, data set."""
    for spec in recipe.datasets:
        yield f"datasets[{spec.name}].product", spec.product, spec.name
        yield f"datasets[{spec.name}].leave_out", spec.leave_out, spec.name
    for one in recipe.generic:
        yield f"generic[{one.name}].objects", one.objects, one.name
    for head in recipe.heads:
        if head.source in ("column", "partition"):
            yield from ((f"heads[{head.id}].column", head.column, name) for name in head.datasets)


def _rows(spec: DataSet | GenericSet, data: Path, *, calibrates: bool) -> list[Row]:
    folder, key = data / spec.folder, "datasets" if isinstance(spec, DataSet) else "generic"
    if not folder.is_dir():
        raise ConfigError(f"{key}[{spec.name}].folder: there is no folder {folder}")
    try:
        found = read(spec.reader, folder, spec.validation)
    except ConfigError as error:
        raise ConfigError(f"{key}[{spec.name}].folder: {error}") from None
    if isinstance(spec, DataSet) and (why := nothing_to_learn(found.rows)):
        raise ConfigError(f"{key}[{spec.name}].folder: {folder}: {why}")
    for text in (*found.notes, *cautions(found.rows, calibrates=calibrates)):
        log.warning("%s: %s", spec.name, text)
    return found.rows
