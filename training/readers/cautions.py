"""What training would stumble on in a data set that can be read; `data check` and a recipe's check say the same."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from training.readers.label_table import Row

LEARNT = ("train", "gallery")  # the splits that training learns from
_NAMED = 3  # pairs of labels that a sentence names
_NO_LABELS = ("path", "split", "box", "origin")
_MOST_LABELS = 20_000  # a column with more values is free text, whose spelling says nothing


def nothing_to_learn(rows: Sequence[Row]) -> str:
    """Why training learns nothing from these rows, with what there is instead, or ""."""
    splits = Counter(row["split"] for row in rows)
    if any(splits[split] for split in LEARNT):
        return ""
    there = ", ".join(f"{count} {split}" for split, count in sorted(splits.items()))
    return f"no photo is in the split train, so training has nothing to learn from it; it has {there}"


def cautions(rows: Sequence[Row], *, calibrates: bool = True) -> list[str]:
    """Sentences about rows that can be read, but that are hardly meant so. `calibrates` says that photos of the split
    val are needed, because training photos cannot take their place."""
    splits = {row["split"] for row in rows}
    said = [text] if (text := nothing_to_learn(rows)) else []
    if calibrates and not said and "val" not in splits:
        said.append("no photo is in the split val: an export cannot calibrate its heads")
    if "test" not in splits:
        said.append("no photo is in the split test: `groknet evaluate` needs --split")
    values: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for column, value in row.items():
            if value and column not in _NO_LABELS and len(values[column]) <= _MOST_LABELS:
                values[column].add(value)
    for column, labels in values.items():
        if len(labels) == 1:
            said.append(f"column {column} has one label, {min(labels)!r}; a head needs two")
        elif len(labels) <= _MOST_LABELS and (pairs := _alike(labels)):
            more = f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else ""
            said.append(
                f"column {column} has labels that differ only in case or blanks: {', '.join(pairs[:_NAMED])}{more}"
            )
    return said


def _alike(labels: set[str]) -> list[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        groups["".join(unicodedata.normalize("NFKC", label).casefold().split())].append(label)
    return [" / ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
