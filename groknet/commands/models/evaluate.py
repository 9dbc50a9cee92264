"""`groknet evaluate`: a bundle scored on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import JsonOption, ReaderOption
from groknet.cli.terminal import json_line, note, progress, stdout

if TYPE_CHECKING:
    from training.evaluation.evaluate import Report


def evaluate(
    bundle: Annotated[Path, Parameter(help="Folder of the bundle.")],
    /,
    *,
    data: Annotated[Path, Parameter(help="Folder of a data set: labels.csv and the photos that it names.")],
    reader: ReaderOption = "csv",
    split: Annotated[str, Parameter(help="Photos of this split; catalogue pictures always.")] = "test",
    column: Annotated[
        list[str] | None,
        Parameter(
            negative=(), help="COLUMN=HEAD, where a column's name does not say which head it is for; may be repeated."
        ),
    ] = None,
    html: Annotated[
        Path | None, Parameter(help="Also write a report to this file, with plots and the worst errors as pictures.")
    ] = None,
    json: JsonOption = False,
) -> Exit:
    """Score every column that a head learned from, and photo → catalogue picture retrieval by product.

    --json writes {"photos": {"listed", "read", "missing", "unreadable"}, "heads": {column: {"n", "top1", "top5",
    "macro", "ece", "ece_floor", "offered", "precision", "outside"}}, "queries": the same of words of titles, with
    "map", "retrieval": {"float"|"hash"|"fine": {"n", "recall_at_1", "recall_at_5", "recall_at_10", "map"}}, "bits":
    recall by the first bits of the hash}. "fine" is by the photo's bits before they were rounded. Labels that a head
    does not have are counted ("outside") and left out; a figure without photos is null.

    --html makes one file that needs nothing beside it. It shows photos of the data: mind who may see them.
    """
    for what, folder in (("bundle", bundle), ("--data", data)):
        if not folder.is_dir():
            raise CommandError(f"{what} {folder}: no such folder", Exit.NOT_FOUND)
    if html is not None and not html.absolute().parent.is_dir():
        raise CommandError(f"--html {html}: its folder is not there", Exit.NOT_FOUND)
    from training.evaluation import measure, write_html

    with progress() as bar:
        task = bar.add_task("photos", total=None)
        found = measure(
            bundle,
            data,
            split,
            columns=_columns(column or []),
            reader=reader,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if html is not None:
        write_html(html, found, data, split)
        note(f"report {html}")
    if json:
        json_line(found.report)
    else:
        _print(found.report)
    return Exit.OK


def _print(report: Report) -> None:
    titles: list[Literal["heads", "queries", "retrieval", "bits"]] = ["heads", "queries", "retrieval", "bits"]
    for title in titles:
        rows = report[title]
        names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
        table = Table(title, *names, box=None)
        for name, figures in rows.items():
            table.add_row(name, *(_figure(figures.get(key)) for key in names))
        if rows:
            stdout().print(table)
    photos = report["photos"]
    if photos["read"] < photos["listed"]:
        lost = f"{photos['missing']} missing, {photos['unreadable']} unreadable"
        note(f"of {photos['listed']} photos {lost}: they are in no figure")


def _columns(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    wrong = [option for option, pair in zip(options, pairs, strict=True) if not pair[0] or not pair[2]]
    if wrong:
        raise CommandError(f"--column {wrong[0]}: write COLUMN=HEAD", Exit.USAGE)
    return {name: head for name, _, head in pairs}


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
