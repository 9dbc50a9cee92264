"""`groknet train`: train a network from a recipe."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engines.files import write_file
from groknet.cli.exits import CommandError, Exit
from groknet.cli.terminal import note
from groknet.commands.models.training_runs import Run, remember


def train(
    recipe: Annotated[Path, Parameter(help="Recipe file (TOML): data sets, heads, losses, schedule.")],
    /,
    *,
    init: Annotated[Path | None, Parameter(help="Write RECIPE for this folder of labelled photos, and end.")] = None,
    data: Annotated[Path | None, Parameter(help="Folder that holds the folders of the data sets.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder for the checkpoint and the log.")] = None,
    resume: Annotated[bool, Parameter(negative=(), help="Continue from the checkpoint in --out.")] = False,
    cache: Annotated[Path | None, Parameter(help="Folder for decoded photos. Default: OUT/cache.")] = None,
    as_tutor: Annotated[
        bool, Parameter(negative=(), help="Train the tutor of the recipe, which has the trunk of [distillation].")
    ] = False,
    tutor: Annotated[Path | None, Parameter(help="Folder of the tutor's run, to learn from it as well.")] = None,
) -> Exit:
    """Train a network from a recipe. Then `groknet export` makes a bundle of the checkpoint. Needs groknet[train].

    Begin with your photos: a folder for each label, or a `labels.csv` with the columns path and label.
    --init looks at them, writes a commented recipe and a fixed split, and says what it found:

    groknet train RECIPE --init PHOTOS

    A small network learns more when it also learns from a larger one, its tutor. Train the tutor on the same photos
    first:

    groknet train RECIPE --data DATA --out TUTOR --as-tutor

    groknet train RECIPE --data DATA --out RUN --tutor TUTOR
    """
    if init is not None:
        return _init(recipe, init)
    if not recipe.is_file():
        raise CommandError(f"{recipe}: no such recipe", Exit.NOT_FOUND)
    if tutor is not None and as_tutor:
        raise CommandError("--as-tutor and --tutor exclude each other: a tutor has no tutor", Exit.USAGE)
    if data is None or out is None:
        raise CommandError(f"--{'data' if data is None else 'out'} is missing; see `groknet train --help`", Exit.USAGE)
    if not data.is_dir():
        raise CommandError(f"--data {data}: no such folder", Exit.NOT_FOUND)
    from training.data.check_recipe import load_checked

    loaded = load_checked(recipe, data)  # before torch is imported, which takes seconds
    from training.bundle.probabilities.silence import silences_of_recipe
    from training.loop.train import train as run

    for text in silences_of_recipe(loaded, data):
        note(text)
    if as_tutor:
        loaded = loaded.as_tutor()
    where = {"data": str(data.absolute()), "cache": str((cache or out / "cache").absolute())}
    remember(out, Run(**where, tutor=as_tutor), recipe)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    checkpoint = run(loaded, data, out, resume=resume, cache=cache, tutor=tutor)
    note(f"checkpoint {checkpoint}; make a bundle of it with `groknet export {out} --out BUNDLE`")
    return Exit.OK


def _init(recipe: Path, folder: Path) -> Exit:
    """Write the recipe of a folder, and its table where there is none. No file that exists is replaced."""
    folder = folder.absolute()
    if not folder.is_dir():
        raise CommandError(f"--init {folder}: no such folder", Exit.NOT_FOUND)
    if recipe.exists():
        raise CommandError(f"{recipe} is there already; name another recipe, or delete it", Exit.USAGE)
    from training.bundle.probabilities.silence import silences_of_recipe
    from training.data.check_recipe import load_checked
    from training.data.draft_recipe import TABLE, draft

    made = draft(folder)
    recipe.parent.mkdir(parents=True, exist_ok=True)
    if made.table:
        write_file(folder / TABLE, made.table)
    write_file(recipe, made.recipe)
    for text in [*made.found, *silences_of_recipe(load_checked(recipe, folder.parent), folder.parent)]:
        note(text)
    split = f" and {folder / TABLE}, which fixes the split" if made.table else ""
    note(f"wrote {recipe}{split}; train it with `groknet train {recipe} --data {folder.parent} --out RUN`")
    return Exit.OK
