"""`webdataset`: plain tar shards in which the members of one sample share a key: `0001.jpg`, `0001.json`, `0001.cls`.

The format (github.com/webdataset/webdataset, "The WebDataset Format"): the key is a member's path up to the first dot
of its file name, and the rest is the kind of the member. Here `jpg`, `jpeg`, `png` or `webp` is the photo. `json` is an
object whose texts, numbers and lists of these become columns. `cls` and `txt` become the columns `cls` and `title`.

The package `webdataset` is not needed. It streams shards into a training loop, but here a run decodes every photo once
into its cache: `tarfile` finds the members, and a seek reads them.
"""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

from engines.pixels import PHOTO_SUFFIXES
from training.readers.found_rows import Found, set_aside_photos
from training.readers.label_table import Row
from training.readers.photo_bytes import TAR, member_name
from training.readers.photo_paths import is_junk
from training.readers.splits import SPLITS, known_split

_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")
_PHOTO = tuple(sorted(suffix.removeprefix(".") for suffix in PHOTO_SUFFIXES))
_TEXT = {"cls": "cls", "txt": "title"}
_META = "__"  # members with this prefix describe the archive
_MOST_LABEL_BYTES = 1 << 20  # of a json, cls or txt: labels have a few hundred

Sample = dict[str, tuple[str, bytes | None]]  # kind → (member, its bytes; None for the photo)


def read_webdataset(folder: Path, validation: float) -> Found:
    """Rows of every `*.tar` below the folder, in order of name. `path` is `shard.tar/member.jpg`.

    The split is `split` of the json, or else a word of the shard's name or folders (`train-0001.tar`, `val/7.tar`), or
    else train. Samples without photo, json that cannot be read, and the rest of a damaged shard are skipped by name.
    Without a val split the share `validation` of the training photos becomes val.
    """
    found = Found()
    for shard in _files(folder, "*" + TAR):
        name = shard.relative_to(folder).as_posix()
        for key, sample in _samples(shard, name, found).items():
            row = _row(name, key, sample, found)
            if row is not None:
                found.rows.append(row)
    for shard in _files(folder, "*.tar.*"):
        found.skipped[shard.relative_to(folder).as_posix()] = "compressed; unpack it to a plain tar"
    if not any(row["split"] == "val" for row in found.rows):
        set_aside_photos(found.rows, validation)
    return found


def _files(folder: Path, pattern: str) -> list[Path]:
    """Plain files of that name below the folder, in order of name, without junk."""
    found = (path for path in folder.rglob(pattern) if path.is_file())
    return sorted(path for path in found if not any(map(is_junk, path.relative_to(folder).parts)))


def _samples(shard: Path, name: str, found: Found) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    size = shard.stat().st_size
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                match = _KEY.fullmatch(member_name(member.name))
                if not member.isfile() or not match or match[1].startswith(_META):
                    continue
                key, kind = match[1], match[2].lower()
                if member.offset_data + member.size > size:
                    found.skipped[f"{name}/{key}"] = f"the shard ends inside {member.name}"
                    samples.pop(key, None)
                    continue
                if kind in samples.setdefault(key, {}):
                    found.skipped[f"{name}/{key}"] = f"two members are .{kind}; the first one counts"
                    continue
                labels = kind == "json" or kind in _TEXT
                if labels and member.size > _MOST_LABEL_BYTES:
                    found.skipped[f"{name}/{key}.{kind}"] = "labels of more than 1 MiB; they do not count"
                    continue
                text = tar.extractfile(member) if labels else None
                samples[key][kind] = (member_name(member.name), text.read() if text else None)
    except (tarfile.TarError, ValueError, OSError) as error:  # tarfile also raises ValueError for odd headers
        found.skipped[name] = f"damaged ({error}); the samples before the damage count"
    return samples


def _row(shard: str, key: str, sample: Sample, found: Found) -> Row | None:
    photo = next((sample[kind][0] for kind in _PHOTO if kind in sample), None)
    if photo is None:
        found.skipped[f"{shard}/{key}"] = f"no photo among its members ({', '.join(sorted(sample))})"
        return None
    row: Row = {"path": f"{shard}/{photo}", "split": _split(shard)}
    try:
        for kind, column in _TEXT.items():
            if kind in sample:
                row[column] = (sample[kind][1] or b"").decode().strip()
        if "json" in sample:
            row |= _columns(json.loads(sample["json"][1] or b""))
        "".join(row.values()).encode()
    except (ValueError, RecursionError) as error:  # broken JSON or UTF-8, half a surrogate pair, a deep nest
        found.skipped[f"{shard}/{key}"] = f"labels cannot be read: {error}"
        return None
    split = known_split(row["split"])
    if split is None:
        found.skipped[f"{shard}/{key}"] = f"its split is {row['split']!r}; write one of {', '.join(SPLITS)}"
        return None
    row["split"] = split
    return row


def _columns(labels: Any) -> Row:
    if not isinstance(labels, dict):
        raise ValueError("the json is no object")
    columns = {name: _text(value) for name, value in labels.items() if name != "path"}
    return {name: text for name, text in columns.items() if text is not None}


def _text(value: Any) -> str | None:
    """A value as text, and a list as multi-label heads read it; None for other values."""
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        return "|".join(map(str, value))
    return None


def _split(shard: str) -> str:
    words = re.split(r"[^a-z]+", shard.lower())
    splits = [split for split in map(known_split, words) if split and split != "gallery"]
    return splits[-1] if splits else "train"
