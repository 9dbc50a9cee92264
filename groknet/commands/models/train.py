"""`groknet train`: a checkpoint from a recipe and data."""

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
    data: Annotated[Path, Parameter(help="Folder with the data sets' folders.")],
    out: Annotated[Path, Parameter(help="Folder for the checkpoint and the log.")],
    resume: Annotated[bool, Parameter(negative=(), help="Go on from the checkpoint in --out.")] = False,
    cache: Annotated[Path | None, Parameter(help="Folder for decoded photos; else OUT/cache.")] = None,
    as_tutor: Annotated[
        bool, Parameter(negative=(), help="Train the recipe's tutor: the same with the trunk of [distillation].")
    ] = False,
    tutor: Annotated[Path | None, Parameter(help="Run of the recipe's tutor, to learn from as well.")] = None,
) -> Exit:
    """Train a network by a recipe; `groknet export` makes a bundle of the checkpoint. Needs groknet[train].

    A small network learns more from a larger one that was trained on the same photos first:

    groknet train RECIPE --data DATA --out TUTOR --as-tutor
    groknet train RECIPE --data DATA --out RUN --tutor TUTOR
    """
    if not recipe.is_file():
        raise CommandError(f"{recipe}: no such recipe", Exit.NOT_FOUND)
    if tutor is not None and as_tutor:
        raise CommandError("--as-tutor and --tutor: a tutor learns from no tutor", Exit.USAGE)
    if not data.is_dir():
        raise CommandError(f"--data {data}: no such folder", Exit.NOT_FOUND)
    from training.data.check_recipe import load_checked
    from training.loop.train import train as run

    loaded = load_checked(recipe, data)
    if as_tutor:
        loaded = loaded.as_tutor()
    where = {"data": str(data.absolute()), "cache": str((cache or out / "cache").absolute())}
    remember(out, Run(**where, tutor=as_tutor), recipe)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    checkpoint = run(loaded, data, out, resume=resume, cache=cache, tutor=tutor)
    note(f"checkpoint {checkpoint}; make a bundle of it with `groknet export {out} --out BUNDLE`")
    return Exit.OK
