"""`groknet evaluate`: a bundle scored on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from groknet.exits import CommandError, Exit
from groknet.options import JsonOption
from groknet.terminal import json_line, progress, stdout


def evaluate(
    bundle: Annotated[Path, Parameter(help="Folder of the bundle.")],
    /,
    *,
    data: Annotated[Path, Parameter(help="Folder with labels.csv and the photos that it names.")],
    split: Annotated[str, Parameter(help="Photos of this split; catalogue pictures always.")] = "test",
    column: Annotated[
        list[str] | None,
        Parameter(
            negative=(), help="COLUMN=HEAD, where a column's name does not say which head it is for; may be repeated."
        ),
    ] = None,
    json: JsonOption = False,
) -> Exit:
    """Score every column that a head learned from, and photo → catalogue picture retrieval by product.

    --json writes {"heads": {column: {"n", "top1", "top5", "macro", "ece"}}, "retrieval": {"float"|"hash": {"n",
    "recall_at_1", "recall_at_5", "recall_at_10"}}}. Labels that a head does not have are counted and left out.
    """
    for what, folder in (("bundle", bundle), ("--data", data)):
        if not folder.is_dir():
            raise CommandError(f"{what} {folder}: no such folder", Exit.NOT_FOUND)
    from training.evaluation import evaluate as score

    with progress() as bar:
        task = bar.add_task("photos", total=None)
        report = score(
            bundle,
            data,
            split,
            columns=_columns(column or []),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if json:
        json_line(report)
        return Exit.OK
    for title, rows in report.items():
        names = list(next(iter(rows.values()), {}))
        table = Table(title, *names, box=None)
        for name, figures in rows.items():
            table.add_row(name, *(_figure(figures[key]) for key in names))
        if rows:
            stdout().print(table)
    return Exit.OK


def _columns(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    wrong = [option for option, pair in zip(options, pairs, strict=True) if not pair[0] or not pair[2]]
    if wrong:
        raise CommandError(f"--column {wrong[0]}: write COLUMN=HEAD", Exit.USAGE)
    return {name: head for name, _, head in pairs}


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"
