"""`groknet evaluate`: measure the accuracy of a bundle on labelled photos."""

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
    data: Annotated[Path, Parameter(help="Folder of a data set.")],
    reader: ReaderOption = "csv",
    split: Annotated[str, Parameter(help="Split to measure, or all. Catalogue photos are always used.")] = "test",
    column: Annotated[
        list[str] | None,
        Parameter(negative=(), help="COLUMN=HEAD: the head for a column with another name. Can be repeated."),
    ] = None,
    html: Annotated[
        Path | None, Parameter(help="Also write an HTML report to this file, with plots and the worst errors.")
    ] = None,
    json: JsonOption = False,
) -> Exit:
    """Measure each head on labelled photos, and how well photos retrieve the catalogue photos of their products.

    --json writes {"photos": {"listed", "read", "missing", "unreadable"}, "heads": {column: {"n", "top1", "top5",
    "macro", "ece", "ece_floor", "offered", "precision", "outside"}}, "queries": the same for words of titles, with
    "map", "retrieval": {"float"|"hash"|"fine": {"n", "recall_at_1", "recall_at_5", "recall_at_10", "map"}}, "bits":
    recall by the first bits of the hash}. "fine" uses the hash bits of the query before rounding. Labels that a head
    does not have are left out and counted as "outside". A figure without photos is null.

    --html writes one self-contained file. It contains photos of the data set, so mind who may see it.
    """
    for what, folder in (("bundle", bundle), ("--data", data)):
        if not folder.is_dir():
            raise CommandError(f"{what} {folder}: no such folder", Exit.NOT_FOUND)
    if html is not None and not html.absolute().parent.is_dir():
        raise CommandError(f"--html {html}: its folder does not exist", Exit.NOT_FOUND)
    from training.evaluation import measure, write_html
    from training.readers import known_split

    with progress() as bar:
        task = bar.add_task("photos", total=None)
        found = measure(
            bundle,
            data,
            known_split(split) or split,
            columns=_columns(column or []),
            reader=reader,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if html is not None:
        write_html(html, found, data, known_split(split) or split)
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
        note(f"{lost} of {photos['listed']} photos: no figure includes them")


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
