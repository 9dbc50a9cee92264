"""What a training run remembers of itself in its folder, so that an export of it need not be told again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from groknet.cli.exits import CommandError, Exit

RECIPE = "recipe.toml"
_FILE = "run.json"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`RUN/run.json`: the folders of data and of decoded photos, absolute, and whether it is its recipe's tutor. The
    recipe lies beside it as it was."""

    data: str
    cache: str
    tutor: bool = False


def remember(folder: Path, run: Run, recipe: Path) -> None:
    """Write `run` and a copy of the recipe into the run's folder."""
    text = recipe.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECIPE).write_bytes(text)
    (folder / _FILE).write_bytes(msgspec.json.encode(run) + b"\n")


def recall(folder: Path) -> Run | None:
    """What `remember` wrote; None where a run was made in another way. Raises CommandError when it is damaged."""
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except msgspec.DecodeError as error:
        text = f"{path}: {error}; give --data and --recipe, and remove the file"
        raise CommandError(text, Exit.USAGE) from None
