"""The report of a cleaning as one HTML file: what became of every file, and the photos behind the marks.

Names and labels are text of strangers, so all of it is escaped, and the page has no script. The photos are small copies
inside the file.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from engines.files import write_file
from engines.pixels import thumbnail
from schemas.errors import Invalid
from training.cleaning.marks import Mark, Marks
from training.cleaning.source import Source
from training.cleaning.steps import RADII, account
from training.readers import read_photo

SIDE = 96  # pixels of a shown photo's long side
MOST_BYTES = 3_000  # of a shown photo
GROUPS = 40  # groups that are shown of each kind of mark, spread evenly over all of them
IN_GROUP = 8  # photos that are shown of a group
SECONDS = 4.0  # that a person is assumed to need for one decision where no review measured it
UNREAD = 200  # files that were not read and are named
_KEPT = 3  # photos that stay and are shown of a group
T = TypeVar("T")
_WIDTH, _HEIGHT = 320, 160  # of a plot

_STYLE = """
:root{color-scheme:light dark;--ink:#1c1c1e;--soft:#6b6b70;--line:#d8d8dc;--page:#fff;--blue:#1f6feb;--red:#c9302c}
@media (prefers-color-scheme:dark){:root{--ink:#ececef;--soft:#9a9aa2;--line:#3a3a40;--page:#161618;--blue:#6ea8fe;
--red:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:72rem;margin:2rem auto;
padding:0 1rem}
h2{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:1rem}
table{border-collapse:collapse;margin:.5rem 0}th,td{padding:.15rem .7rem;text-align:right;
border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}th:first-child,td:first-child{text-align:left}
.group{display:flex;flex-wrap:wrap;gap:.7rem;margin:.6rem 0;padding:.5rem;border:1px solid var(--line);
border-radius:8px}.group>p{width:100%;margin:0}
figure{margin:0;width:112px;font-size:12px;overflow-wrap:anywhere}figure img{max-width:96px;max-height:96px;
border:2px solid transparent;border-radius:4px}
figure.kept img{border-color:var(--blue)}figure.out img{border-color:var(--red)}
.soft{color:var(--soft)}svg{width:320px;max-width:100%}svg text{font-size:11px;fill:var(--soft)}
svg polyline{fill:none;stroke:var(--blue);stroke-width:1.5}svg .other{stroke:var(--red)}svg .at{stroke:var(--line)}
"""


def write_report(source: Source, marks: Marks, out: Path, *, seconds: float = SECONDS) -> Path:
    """Write `out/report.html`, and return it. It appears whole or not at all.

    Args:
        source: the photos.
        marks: what was decided about them.
        out: folder of the cleaning.
        seconds: that a person needs for one decision.
    """
    counts = account(source, marks)
    sections = [
        f"<h1>Cleaning of {escape(source.folder.resolve().name)}</h1>",
        _account(counts),
        _notes(source),
        _saved(sum(1 for _ in marks.in_force()), seconds),
        _duplicates(source, _sample(marks, "duplicates")),
        _noise(source, _sample(marks, "noise"), out / RADII),
        _merges(source, list(marks.in_force("merge"))),
        _relabelled(source, list(marks.in_force("relabel"))),
        _unread(marks),
        "<p class=soft>Every mark has an id. `groknet data undo` takes a mark back. marks.csv lists all of them.</p>",
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Cleaning</title><style>{_STYLE}</style></head><body>{''.join(sections)}</body></html>\n"
    )
    file = out / "report.html"
    write_file(file, page)
    return file


_NAMES = {
    "kept": "kept",
    "relabelled": "kept under another product",
    "same_bytes": "left out: equal bytes as another photo",
    "near_duplicate": "left out: the same picture as another photo",
    "noise": "left out: shows something else than its product",
    "unreadable": "left out: cannot be read",
    "no_photo": "no photo",
    "hidden": "hidden files, and files of the system",
    "files": "files in all",
    "products merged": "labels merged into another",
}


def _account(counts: Mapping[str, int]) -> str:
    lines = [f"<tr><td>{_NAMES[name]}</td><td>{count:,}</td></tr>" for name, count in counts.items()]
    return f"<h2>What became of every file</h2><table>{''.join(lines)}</table>"


def _notes(source: Source) -> str:
    return "".join(f"<p>{escape(note)}</p>" for note in source.notes)


def _saved(count: int, seconds: float) -> str:
    hours = count * seconds / 3600
    return (
        f"<p>The steps made {count:,} decisions. At {seconds:g} seconds for a decision by a person, that is "
        f"{hours:,.1f} person-hours.</p>"
    )


def _duplicates(source: Source, sample: _Sample) -> str:
    shown = [
        f"<div class=group><p>{some.marks} left out</p>"
        + _photo(source, some.kept[0], "kept", "kept")
        + "".join(_photo(source, mark.photo, "out", _said(mark)) for mark in some.first)
        + "</div>"
        for some in sample.shown
    ]
    return _section("Duplicates", f"{sample.marks:,} photos in {sample.groups:,} groups.", shown)


def _noise(source: Source, sample: _Sample, radii: Path) -> str:
    shown = []
    for some in sample.shown:
        photos = "".join(_photo(source, path, "kept", "in the cluster") for path in some.kept)
        photos += "".join(_photo(source, mark.photo, "out", _said(mark)) for mark in some.first)
        shown.append(f"<div class=group><p><b>{escape(some.first[0].product)}</b></p>{photos}</div>")
    text = f"{sample.marks:,} photos of {sample.groups:,} products."
    plots = _radii(json.loads(radii.read_text())) if radii.is_file() else ""
    return _section("Photos of something else", text, [plots, *shown])


def _merges(source: Source, marks: Sequence[Mark]) -> str:
    words = "{} is {}", "kept", "taken for the other label", "nearest of the other label"
    return _section("Labels that are one product", f"{len(marks):,} merges.", _pairs(source, marks, words))


def _relabelled(source: Source, marks: Sequence[Mark]) -> str:
    words = "from {} to {}", "out", "has another product", "nearest photo of the new product"
    return _section("Photos of another product", f"{len(marks):,} photos.", _pairs(source, marks, words))


def _pairs(source: Source, marks: Sequence[Mark], words: tuple[str, str, str, str]) -> list[str]:
    """Some of the marks, each with its photo and the one that explains it. `words`: a title with places for both
    labels, how the photo is shown, and what stands below either photo."""
    title, kind, one, other = words
    return [
        f"<div class=group><p>{title.format(f'<b>{escape(mark.product)}</b>', f'<b>{escape(mark.into)}</b>')}</p>"
        + _photo(source, mark.photo, kind, one)
        + _photo(source, mark.kept, "kept", other)
        + f"<figure><figcaption>{_said(mark)}</figcaption></figure></div>"
        for mark in _even(marks)
    ]


def _unread(marks: Marks) -> str:
    first = list(islice(marks.in_force("read"), UNREAD))
    count = sum(1 for _ in marks.in_force("read"))
    items = [f"<li>{escape(mark.photo)}: {escape(str(mark.why.get('reason', '')))}</li>" for mark in first]
    more = f"<p>{count - UNREAD:,} more are in marks.csv.</p>" if count > UNREAD else ""
    return _section("Files that were not read", f"{count:,} files.", [f"<ul>{''.join(items)}</ul>{more}"])


def _section(title: str, text: str, parts: Iterable[str]) -> str:
    return f"<h2>{title}</h2><p>{text}</p>{''.join(parts)}"


@dataclass
class _Group:
    """What is shown of a group: how many marks it has, the first of them, and up to three photos that stay."""

    marks: int
    first: list[Mark] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def add(self, mark: Mark) -> None:
        if len(self.first) < IN_GROUP:
            self.first.append(mark)
        if len(self.kept) < _KEPT and mark.kept not in self.kept:
            self.kept.append(mark.kept)


@dataclass(frozen=True)
class _Sample:
    """How many marks and groups a step made, and the groups that are shown."""

    marks: int
    groups: int
    shown: list[_Group]


def _sample(marks: Marks, step: str) -> _Sample:
    """Groups spread evenly over all of a step. The marks are read twice, because all of them may not fit into
    memory."""
    sizes = Counter(mark.group for mark in marks.in_force(step))
    shown = {name: _Group(sizes[name]) for name in _even(list(sizes))}
    for mark in marks.in_force(step):
        if mark.group in shown:
            shown[mark.group].add(mark)
    return _Sample(sizes.total(), len(sizes), list(shown.values()))


def _even(values: Sequence[T]) -> Sequence[T]:
    """Some of these values, spread evenly over all of them."""
    return values[:: max(1, -(-len(values) // GROUPS))]


def _said(mark: Mark) -> str:
    numbers = "<br>".join(f"{escape(name)} {escape(str(value))}" for name, value in mark.why.items())
    return f"{numbers}<br><span class=soft>{mark.id}</span>"


def _photo(source: Source, path: str, kind: str, caption: str) -> str:
    """A small inline copy of the photo; `caption` is HTML. Without the photo, the caption alone."""
    try:
        small = base64.b64encode(thumbnail(read_photo(source.folder, path), SIDE, max_bytes=MOST_BYTES)).decode()
        image = f'<img alt="" src="data:image/webp;base64,{small}">'
    except (Invalid, OSError, ValueError):
        image = ""
    return f'<figure class={kind} title="{escape(path, quote=True)}">{image}<figcaption>{caption}</figcaption></figure>'


def _radii(chosen: Mapping[str, Any]) -> str:
    """Two plots: the share of own photos and of strangers within each radius, and the radius that was chosen."""
    strict = _ladder(chosen["strict_ladder"], chosen["strict"], "strict radius")
    loose = _ladder(chosen["loose_ladder"], chosen["loose"], "loose radius")
    return (
        f"<div class=group><p>How the radii were chosen: own photos that are kept (blue) and photos of other products "
        f"that would be let in (red), by the radius.</p>{strict}{loose}</div>"
    )


def _ladder(ladder: Sequence[Mapping[str, float]], chosen: float, title: str) -> str:
    most = max([one["radius"] for one in ladder] + [chosen, 1e-9])
    at = chosen / most * _WIDTH

    def line(name: str, kind: str) -> str:
        points = (f"{one['radius'] / most * _WIDTH:.1f},{_HEIGHT * (1 - one[name]):.1f}" for one in ladder)
        return f'<polyline class="{kind}" points="{" ".join(points)}"/>'

    return (
        f'<svg role="img" viewBox="0 -4 {_WIDTH} {_HEIGHT + 24}"><title>{title}</title>'
        f'<polyline class="at" points="{at:.1f},0 {at:.1f},{_HEIGHT}"/>{line("kept", "own")}'
        f'{line("strangers", "other")}<text x="0" y="{_HEIGHT + 16}">{title}: {chosen:.3f} of at most {most:.2f}</text>'
        "</svg>"
    )
