"""`groknet evaluate`: measure the accuracy of a bundle on labelled photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    data: Annotated[Path | None, Parameter(help="Folder of a data set.")] = None,
    mix: Annotated[
        list[Path] | None,
        Parameter(negative=(), consume_multiple=True, help="Instead of --data: folders of several sets."),
    ] = None,
    shows: Annotated[
        list[str] | None,
        Parameter(negative=(), help="SET=DATASET, with --mix: the set shows such products too. Can be repeated."),
    ] = None,
    objects: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="SET=COLUMN, with --mix: labels of heads without a data set, if they are not found. Can be repeated.",
        ),
    ] = None,
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
    "map", "retrieval": {"float"|"hash"|"fine"|"rescored": {"n", "recall_at_1", "recall_at_5", "recall_at_10", "map"}},
    "bits": recall by the first bits of the hash}. With --mix it writes {"sets": {name: {"photos", "nonsense",
    "touched"}}, "heads": {id: {"photos", "top1", "offers", "precision", "offered", "best_offered", "ece", "ece_floor",
    "lost"}}, "pooled": {"offers", "precision", "worst_ece", "worst_lost"}}.

    --mix takes equally many photos of each folder. A folder's name is that of the data set in the bundle. Labels that
    are offered by heads of other data sets are nonsense. A file related.csv in a folder names photos to leave out.
    Beside what is offered it prints what the best threshold on these photos would offer, the calibration error with
    what chance alone would give, and the share of right labels that is lost because a photo was taken for another kind.

    "fine" uses the hash bits of the query before rounding, and "rescored" also those of the catalogue photos, in eight
    bits each. Labels that a head does not have are left out and counted as "outside". A figure without photos is null.

    --html writes one self-contained file. It contains photos of the data set, so mind who may see it.
    """
    if (data is None) == (mix is None):
        raise CommandError("--data, --mix: give one of them, the folder of a data set or those of several", Exit.USAGE)
    folders = [("bundle", bundle), *(("--mix", one) for one in mix or []), *([("--data", data)] if data else [])]
    for what, folder in folders:
        if not folder.is_dir():
            raise CommandError(f"{what} {folder}: no such folder", Exit.NOT_FOUND)
    if mix is not None:
        return _mix(bundle, mix, split, shows or [], objects or [], json=json)
    assert data is not None
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


def _mix(bundle: Path, folders: list[Path], split: str, shows: list[str], objects: list[str], *, json: bool) -> Exit:
    from training.evaluation.mix import measure_mix

    named = {folder.resolve().name: folder for folder in folders}
    if len(named) < len(folders):
        raise CommandError("--mix: two folders have one name; a name is that of a data set in the bundle", Exit.USAGE)
    related: dict[str, frozenset[str]] = {}
    for name, dataset in _pairs("--shows", "DATASET", shows, named):
        related[name] = related.get(name, frozenset()) | {dataset}
    columns = dict(_pairs("--objects", "COLUMN", objects, named))
    with progress() as bar:
        task = bar.add_task("photos", total=None)
        found = measure_mix(
            bundle,
            named,
            split=split,
            shows=related,
            objects=columns,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if json:
        json_line(found)
        return Exit.OK
    _table("photos of", found["sets"])
    _table("head", found["heads"])
    _table("together", {"heads with few offers": found["pooled"]})
    return Exit.OK


def _pairs(option: str, what: str, values: list[str], named: dict[str, Path]) -> list[tuple[str, str]]:
    pairs = [value.partition("=") for value in values]
    for value, (name, _, other) in zip(values, pairs, strict=True):
        if name not in named or not other:
            raise CommandError(f"{option} {value}: write SET={what}; SET is one of {', '.join(named)}", Exit.USAGE)
    return [(name, other) for name, _, other in pairs]


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    table = Table(title, *names, box=None)
    for name, figures in rows.items():
        table.add_row(name, *(_figure(figures.get(key)) for key in names))
    if rows:
        stdout().print(table)


def _print(report: Report) -> None:
    titles: list[Literal["heads", "queries", "retrieval", "bits"]] = ["heads", "queries", "retrieval", "bits"]
    for title in titles:
        _table(title, report[title])
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
