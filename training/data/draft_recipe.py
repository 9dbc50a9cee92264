"""Drafts a recipe for a folder of labelled photos: `groknet train --init`.

It reads the folder's table, or its class folders, and writes a commented recipe. Class folders without splits also get
a `labels.csv` with a fixed split, by label, so that a few dozen photos of each are spread evenly. It opens no photo.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ConfigError
from training.readers import known_split, read
from training.readers.label_table import Row
from training.readers.splits import chance

TABLE = "labels.csv"
PRODUCT_COLUMNS = ("product", "product_id", "sku", "item_id", "article")
_SPLIT_BY_LABEL = (("test", 0.15), ("val", 0.3))  # cumulative shares of a label's photos; the rest is train
_SPLIT_OF_FEW = (("test", 0.15),)  # each training photo is judged by a head that was fitted to the others
_FEW = 1000  # photos of a folder; with fewer, heads on a trunk that stays as it is are as good, and ready in minutes
_FEWEST = 3  # photos of a label; with fewer, it cannot be learnt and measured
_MOST_LABELS = 0.5  # a column with more values a photo is an id or free text
_NO_HEAD = ("path", "split", "box", "origin", "source", "title", "description", "url", "query")
_STEPS_A_PHOTO, _MOST_STEPS = 0.5, 1500  # of 32 photos each: 16 passes over small sets


@dataclass(frozen=True)
class Draft:
    """What was found, and what to write.

    Attributes:
        recipe: the text of the recipe.
        table: the text of a new `labels.csv`, or "" where the folder has one or has splits.
        found: sentences for the reader.
    """

    recipe: str
    table: str
    found: list[str]


@dataclass(frozen=True)
class _Seen:
    """A folder of photos: columns that become heads, and the others with the reason."""

    name: str
    folder: str
    reader: str
    product: str
    columns: list[str]
    left_out: dict[str, str]
    photos: int


def draft(folder: Path) -> Draft:
    """Look at `folder` and draft a recipe for it. The data set is called like the folder.

    Raises:
        ConfigError: the folder has neither a `labels.csv` nor a folder of photos for each label, or no column that can
            be learnt.
    """
    name = _id(folder.name)
    has_table = (folder / TABLE).is_file()
    reader = "csv" if has_table else "folder"
    rows = read(reader, folder, 0.15).rows
    table = ""
    if not has_table and not any(known_split(path.name) for path in folder.iterdir() if path.is_dir()):
        rows, reader = _split_by_label(rows, _SPLIT_OF_FEW if len(rows) < _FEW else _SPLIT_BY_LABEL), "csv"
        table = _as_csv(rows)
    product = next((c for c in PRODUCT_COLUMNS if any(row.get(c) for row in rows)), "")
    columns, left_out = _columns(rows, product)
    if not columns and product:  # nothing else is known of the photos, so a head learns the products
        columns, left_out = _columns(rows, "")
    if not columns:
        reasons = "; ".join(f"{column}: {why}" for column, why in left_out.items()) or "it has no column of labels"
        raise ConfigError(f"--init {folder}: there is nothing to learn ({reasons})")
    splits = Counter(row["split"] for row in rows)
    found = [f"{len(rows):,} photos: " + ", ".join(f"{n:,} {split}" for split, n in sorted(splits.items()))]
    found += [f"{column}: {_labels(rows, column)} labels" for column in columns]
    found += [f"{column}: left out, because {why}" for column, why in left_out.items()]
    seen = _Seen(name, folder.name, reader, product, columns, left_out, len(rows))
    return Draft("\n".join(_lines(seen)), table, found)


def _split_by_label(rows: Sequence[Row], shares: Sequence[tuple[str, float]]) -> list[Row]:
    """The rows with a split of their own, each label by itself, in the order of a hash of their paths. A label of three
    photos or more has at least one in each split. `shares` are cumulative; the rest is train."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_label[row.get("label", "")].append(row)
    result = []
    for mine in by_label.values():
        ordered = sorted(mine, key=lambda row: chance(row["path"]))
        ends = {split: max(i + 1, round(share * len(mine))) for i, (split, share) in enumerate(shares)}
        for i, row in enumerate(ordered):
            small = len(mine) < _FEWEST
            row["split"] = "train" if small else next((s for s, end in ends.items() if i < end), "train")
        result += mine
    return sorted(result, key=lambda row: row["path"])


def _as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "split", "label"])
    writer.writerows([row["path"], row["split"], row.get("label", "")] for row in rows)
    return text.getvalue()


def _columns(rows: Sequence[Row], product: str) -> tuple[list[str], dict[str, str]]:
    """Columns that can be heads, and the others with the reason."""
    names = list(dict.fromkeys(column for row in rows for column in row if column not in (*_NO_HEAD, product)))
    columns, left_out = [], {}
    for column in names:
        values = [row[column] for row in rows if row.get(column)]
        if len(set(values)) < 2:
            left_out[column] = "it has one label, and a head needs two"
        elif len(set(values)) > _MOST_LABELS * len(values):
            left_out[column] = "nearly every photo has a value of its own, so it is an id or a text"
        else:
            columns.append(column)
    return columns, left_out


def _labels(rows: Sequence[Row], column: str) -> int:
    return len({row[column] for row in rows if row.get(column)})


def _id(column: str) -> str:
    """A column's name as an id."""
    return re.sub(r"[^a-z0-9]+", "-", column.casefold()).strip("-") or "label"


def _lines(seen: _Seen) -> Iterator[str]:
    """The lines of a recipe."""
    name, product = _text(seen.name), seen.product
    few = seen.photos < _FEW
    yield f"# A first recipe for the photos of {_text(seen.folder)}. docs/reference/recipe.md explains every key, and"
    yield "# training/README.md how heads and losses work."
    yield f"name = {name}"
    yield 'trunk = "efficientnet_lite0"  # a small network with weights in a package; runs on a laptop'
    yield "size = 224                     # pixels a side that the network sees"
    if few:
        yield "cache_size = 224               # of the decoded photos on disk"
    else:
        yield "cache_size = 256               # of the decoded photos on disk; more than size leaves room to crop"
    yield "seed = 1"
    if few:
        yield "target_precision = 0.9         # of what is offered"
        yield "target_doubt = 0.25            # 0.05 is surer of the precision, and offers less"
    yield from _of_few() if few else _of_many(seen)
    yield "\n[[datasets]]"
    yield f"name = {name}"
    yield f"folder = {_text(seen.folder)}               # below the folder that --data names"
    if seen.reader != "csv":
        yield f"reader = {_text(seen.reader)}"
    if product:
        yield f"product = {_text(product)}             # photos with the same value show the same thing"
    yield "share = 32                     # photos of this set in a batch"
    yield "\n# Photos of anything else, so that the heads stay silent where they do not apply. Any folder will do."
    yield "# [[generic]]"
    yield '# name = "everything-else"'
    yield '# folder = "everything-else"'
    taken: Counter[str] = Counter()
    for column in seen.columns:
        name_of = _id(column)
        taken[name_of] += 1
        number = f"-{taken[name_of]}" if taken[name_of] > 1 else ""  # two columns may give one id
        yield "\n[[heads]]"
        yield f"id = {_text(f'{seen.name}.{name_of}{number}')}"
        yield f"column = {_text(column)}"
        yield f"datasets = [{name}]"
        if len(taken) == 1:
            yield '# merge = { "beaker" = "mug" }                    # texts that mean another label'
            yield '# names = { "mug" = { en = "Mug", de = "Becher" } }  # what people read, by language'
    for column, why in seen.left_out.items():
        yield f"\n# No head for the column {_text(column)}: {why}."
    yield ""


def _of_few() -> Iterator[str]:
    """Schedule and losses for a few hundred photos: only heads learn."""
    yield "\n[schedule]"
    yield "# The network stays as it is, and heads are fitted to what it sees. This takes minutes. Each photo finds the"
    yield "# thresholds as well, judged by heads that did not learn from it. With thousands of photos, write"
    yield '# learns = "network", which trains the whole network in an hour or more. Then add photos of the split val.'
    yield 'learns = "heads"'
    yield "steps = 1                      # only counts for losses of the embedding"
    yield "views = 1"
    yield "\n[metric]                       # no losses: the search by photo uses what the network knows about likeness"
    yield "arcface = 0.0"
    yield "contrastive = 0.0"
    yield "relational = 0.0"
    yield "hash = 0.0"


def _of_many(seen: _Seen) -> Iterator[str]:
    """Schedule and losses for a thousand photos and more: the whole network learns."""
    steps = min(int(seen.photos * _STEPS_A_PHOTO), _MOST_STEPS)
    yield "\n[schedule]"
    yield f"steps = {steps}                    # about 32 photos each; more steps help once you have more photos"
    yield "views = 1                      # 2 adds the contrastive loss: better neighbours, twice the time"
    yield "warmup = 10"
    yield "small_size = 160               # the first part of the run sees small photos, which is faster"
    yield "small_share = 0.6"
    yield "smoothing = 0.1                # keeps the network from being too sure"
    yield "dropout = 0.2"
    yield "\n[metric]                       # losses of the embedding, which the search by photo uses"
    yield (
        "arcface = 1.0                  # photos of one product come together"
        if seen.product
        else "arcface = 0.0                  # needs a column that names the product of a photo"
    )
    yield "contrastive = 0.0              # needs views = 2"
    yield "relational = 20.0              # keeps what the packaged network knows about likeness"
    yield "hash = 0.0                     # the hash is fitted to the embedding afterwards"


def _text(value: str) -> str:
    """A TOML string. A JSON string is one, but for the control character DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
