"""`csv`: a labels.csv in the folder of the photos. Every other layout is turned into such rows.

    path,split,domain,box,KIND,PRODUCT,…

Only `path` must be there. A cell that means nothing clear is refused with its line, because a row that is left out of
training without a word costs more than a corrected table.
"""

from __future__ import annotations

from pathlib import Path

from schemas.errors import ConfigError, Invalid
from training.readers.found_rows import Found
from training.readers.label_table import Row, box_of
from training.readers.photo_paths import photo_path
from training.readers.splits import SPLITS, divide, known_split
from training.readers.table_file import Problems, Table, read_table

_FILE = "labels.csv"
_LIKE_IT = (".csv", ".tsv", ".tab", ".xlsx", ".xls", ".ods", ".parquet", ".json", ".jsonl")


def read_csv(folder: Path, validation: float) -> Found:
    """Rows with every column of the table. Without splits in it, the photos' names decide.

    Raises:
        ConfigError: there is no table, or it has lines that mean nothing clear.
    """
    table = read_table(_file(folder))
    problems = Problems(table.file)
    for line, row in zip(table.lines, table.rows, strict=True):
        _clean(folder, row, line, problems)
    found = Found(table.rows)
    if any(row.get("split") for row in table.rows):
        _clean_splits(table, problems)
    elif not problems.found:
        found.notes.append(divide(found.rows, validation, f"{table.file} has no column `split`"))
    _judge_repeats(table, problems, found)
    problems.refuse()
    return found


def _file(folder: Path) -> Path:
    if (folder / _FILE).is_file():
        return folder / _FILE
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    same = [name for name in names if name.lower() == _FILE]
    if len(same) == 1:
        return folder / same[0]
    close = [name for name in names if name.lower().endswith(_LIKE_IT)][:3]
    if close:
        remedy = f"there is {', '.join(close)}: save the table as {_FILE}"
    else:
        remedy = (
            "write a table with a `path` column, or, if there is one folder for each class, use the reader 'folder'"
        )
    raise ConfigError(f"data: there is no {folder / _FILE}; {remedy}")


def _clean(folder: Path, row: Row, line: int, problems: Problems) -> None:
    """Bring `path` to its usual form, and look at `box`."""
    try:
        row["path"] = photo_path(folder, row["path"])
    except ValueError as error:
        problems.add(line, f"path {row['path']!r}: {error}")
    try:
        box_of(row)
    except Invalid as error:
        problems.add(line, error.message)


def _clean_splits(table: Table, problems: Problems) -> None:
    for line, row in zip(table.lines, table.rows, strict=True):
        split = known_split(row["split"])
        if split is None:
            said = repr(row["split"]) if row["split"] else "empty, though other rows have one"
            problems.add(line, f"split is {said}; write one of {', '.join(SPLITS)}")
        row["split"] = split or row["split"]


def _judge_repeats(table: Table, problems: Problems, found: Found) -> None:
    """A photo, or a part of one, that is in two splits would be measured after it was trained on."""
    first: dict[tuple[str, str], int] = {}
    again = 0
    for place, row in enumerate(table.rows):
        before = first.setdefault((row["path"], row.get("box", "")), place)
        other = table.rows[before].get("split", "")
        if before != place and other != row.get("split", ""):
            text = f"{row['path']} is in {row['split']}, and in {other} by line {table.lines[before]}; keep one of them"
            problems.add(table.lines[place], text)
        again += before != place
    if again:
        found.notes.append(f"{table.file}: {again} rows name a photo that an earlier row names, in the same split")
