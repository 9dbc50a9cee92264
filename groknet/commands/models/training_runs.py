"""What a training run records in its folder, so that `groknet export` need not ask for it again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.files import write_file
from groknet.cli.exits import CommandError, Exit

RECIPE = "recipe.toml"
_FILE = "run.json"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`RUN/run.json`: the absolute folders of the data and of decoded photos, and whether the run trains the tutor of
    its recipe. A copy of the recipe is stored next to it."""

    data: str
    cache: str
    tutor: bool = False


def remember(folder: Path, run: Run, recipe: Path) -> None:
    """Write `run` and a copy of the recipe into the run's folder."""
    text = recipe.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / RECIPE, text)
    write_file(folder / _FILE, msgspec.json.encode(run) + b"\n")


def recall(folder: Path) -> Run | None:
    """What `remember` wrote, or None for a run without it. Raises CommandError when the file is damaged."""
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except msgspec.DecodeError as error:
        text = f"{path}: {error}; give --data and --recipe, and remove the file"
        raise CommandError(text, Exit.USAGE) from None
