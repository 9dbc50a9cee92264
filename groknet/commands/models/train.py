"""`groknet train`: train a network from a recipe."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from groknet.cli.exits import CommandError, Exit
from groknet.cli.terminal import note
from groknet.commands.models.training_runs import Run, remember


def train(
    recipe: Annotated[Path, Parameter(help="Recipe file (TOML): data sets, heads, losses, schedule.")],
    /,
    *,
    data: Annotated[Path, Parameter(help="Folder that holds the folders of the data sets.")],
    out: Annotated[Path, Parameter(help="Folder for the checkpoint and the log.")],
    resume: Annotated[bool, Parameter(negative=(), help="Continue from the checkpoint in --out.")] = False,
    cache: Annotated[Path | None, Parameter(help="Folder for decoded photos. Default: OUT/cache.")] = None,
    as_tutor: Annotated[
        bool, Parameter(negative=(), help="Train the tutor of the recipe, which has the trunk of [distillation].")
    ] = False,
    tutor: Annotated[Path | None, Parameter(help="Folder of the tutor's run, to learn from it as well.")] = None,
) -> Exit:
    """Train a network from a recipe. Then `groknet export` makes a bundle of the checkpoint. Needs groknet[train].

    A small network learns more when it also learns from a larger one, its tutor. Train the tutor on the same photos
    first:

    groknet train RECIPE --data DATA --out TUTOR --as-tutor
    groknet train RECIPE --data DATA --out RUN --tutor TUTOR
    """
    if not recipe.is_file():
        raise CommandError(f"{recipe}: no such recipe", Exit.NOT_FOUND)
    if tutor is not None and as_tutor:
        raise CommandError("--as-tutor and --tutor exclude each other: a tutor has no tutor", Exit.USAGE)
    if not data.is_dir():
        raise CommandError(f"--data {data}: no such folder", Exit.NOT_FOUND)
    from training.bundle.probabilities.silence import silences_of_recipe
    from training.data.check_recipe import load_checked
    from training.loop.train import train as run

    loaded = load_checked(recipe, data)
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
