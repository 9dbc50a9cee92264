"""The report as one HTML file without further files: figures, plots, confusions, and the photos of the worst errors.

Labels and titles are text of strangers, so all text of a manifest or a table is escaped, and the page has no script.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.files import write_file
from engines.pixels import thumbnail
from schemas.errors import Invalid
from training.evaluation import metrics
from training.evaluation.evaluate import Measured
from training.evaluation.plots import recall_plot, reliability_plot
from training.evaluation.scoring import Neighbours, Scored
from training.readers import read_photo
from training.readers.label_table import Row

Rows = Mapping[str, Mapping[str, float | None]]  # name → its line of figures

SIDE = 112  # pixels of a shown photo's long side
PAIRS = 10  # confusions that are shown for a head
WORST = 8  # photos that are shown for a head, and of photos whose product was not found

_STYLE = """
:root{color-scheme:light dark;--ink:#1c1c1e;--soft:#6b6b70;--line:#d8d8dc;--page:#fff;--blue:#1f6feb}
@media (prefers-color-scheme:dark){:root{--ink:#ececef;--soft:#9a9aa2;--line:#3a3a40;--page:#161618;--blue:#6ea8fe}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:72rem;margin:2rem auto;
padding:0 1rem}
h2{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:1rem}
table{border-collapse:collapse;margin:.5rem 0}.wide{overflow-x:auto}
th,td{padding:.15rem .7rem;text-align:right;border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}
th:first-child,td:first-child,.text td{text-align:left}
.row{display:flex;flex-wrap:wrap;gap:1.5rem;align-items:flex-start}
svg{width:320px;max-width:100%;height:auto}
svg text{font-size:11px;fill:var(--soft)}svg .tick{text-anchor:middle}svg .up{text-anchor:end}
svg polyline{fill:none;stroke:var(--line)}svg .curve{stroke:var(--blue);stroke-width:1.5}
svg .ideal{stroke-dasharray:4 3;stroke:var(--soft)}svg circle{fill:var(--blue);fill-opacity:.7}
figure{margin:0;width:128px;font-size:12px;overflow-wrap:anywhere}figure img{max-width:112px;max-height:112px}
figcaption b{font-weight:600}.soft{color:var(--soft)}
"""


def write_html(path: Path, found: Measured, data: Path, split: str) -> None:
    """Write the report of `found` to `path`. `data` is the folder of its photos, and `split` what was measured.

    The file appears whole or not at all. It contains small copies of photos, so show it only to people who may see
    these photos.
    """
    manifest, report = found.predicted.manifest, found.report
    photos = report["photos"]
    parts: dict[str, Rows] = {"heads": report["heads"], "queries": report["queries"]}
    parts |= {"retrieval": report["retrieval"], "bits": report["bits"]}
    sections = [
        f"<h1>{escape(manifest.name)}</h1><p>Model <b>{escape(manifest.model_version)}</b>, epoch {manifest.epoch}, "
        f"made {escape(manifest.created)}. Measured on <b>{escape(data.absolute().name)}</b>, split "
        f"<b>{escape(split)}</b>: {photos['listed']:,} photos listed, {photos['read']:,} read, {photos['missing']:,} "
        f"missing, {photos['unreadable']:,} unreadable.</p>",
        "<h2>Figures</h2>",
        *(_table(title, rows) for title, rows in parts.items() if rows),
        "<p class=soft>ece: calibration error over 15 bins of equal mass. ece_floor: the ece of exactly calibrated "
        "probabilities with this number of photos. offered: share of photos whose first label reaches the operating "
        "threshold. precision: share of correct labels among all that reach it. outside: photos whose label the head "
        "does not know. The bundle's card.md says what is offered on photos of other kinds, and why a head offers "
        "nothing.</p>",
        *_skipped(found),
    ]
    if found.neighbours is not None:
        sections.append(_retrieval(found, found.neighbours, data))
    sections += [_head(column, one, found, data) for column, one in found.scored.items() if len(one.targets)]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{escape(manifest.model_version)}</title><style>{_STYLE}</style></head><body>"
        f"{''.join(sections)}</body></html>\n"
    )
    write_file(path, page)


def _table(title: str, rows: Rows) -> str:
    names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    head = "".join(f"<th>{name}</th>" for name in (title, *names))
    lines = [
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{_figure(figures.get(key))}</td>' for key in names)}</tr>"
        for name, figures in rows.items()
    ]
    return f"<div class=wide><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _skipped(found: Measured) -> list[str]:
    if not found.predicted.skipped:
        return []
    items = "".join(f"<li>{escape(path)}: {escape(reason)}</li>" for path, reason in found.predicted.skipped[:50])
    return [f"<h2>Not read</h2><ul>{items}</ul>"]


def _head(column: str, scored: Scored, found: Measured, data: Path) -> str:
    head, said = scored.head, scored.predictions.probabilities
    depth = None if scored.positives is not None else 1
    bins = metrics.reliability(said[:, :depth].ravel(), scored.correct[:, :depth].ravel())
    plot = reliability_plot(bins, f"Reliability of {column}")
    threshold = (
        "nothing is offered; the bundle's card says why"
        if head.threshold >= 1
        else f"offered from {head.threshold:.3f}"
    )
    return (
        f"<h2>{escape(column)}</h2><p class=soft>Head {escape(head.id)}, {len(head.labels)} labels, {threshold}, for a "
        f"precision of {head.target_precision:g}.</p><div class=row>{plot}{_confusions(scored)}</div>"
        f"<h3>Worst errors</h3><div class=row>{_errors(scored, found.predicted.rows, data)}</div>"
    )


def _confusions(scored: Scored) -> str:
    """The most frequent pairs of a true label and a wrong first answer. Of several true labels the first one counts."""
    first, wrong = scored.predictions.labels[:, 0], ~scored.correct[:, 0]
    pairs = Counter(zip(scored.targets[wrong].tolist(), first[wrong].tolist(), strict=True))
    labels = scored.head.labels
    lines = [
        f"<tr><td>{escape(labels[truth].value)}</td><td>{escape(labels[said].value)}</td><td>{count}</td></tr>"
        for (truth, said), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:PAIRS]
    ]
    return f"<table class=text><tr><th>true label</th><th>answer</th><th>photos</th></tr>{''.join(lines)}</table>"


def _errors(scored: Scored, rows: Sequence[Row], data: Path) -> str:
    """Photos whose first label is wrong, the most confident first."""
    said = scored.predictions.probabilities[:, 0]
    wrong = np.flatnonzero(~scored.correct[:, 0])
    worst = wrong[np.argsort(-said[wrong], kind="stable")][:WORST]
    labels, places = scored.head.labels, _places(scored)
    figures = []
    for i in worst:
        called = labels[scored.predictions.labels[i, 0]].value
        caption = f"<b>{escape(called)}</b> {said[i]:.2f}<br>is {escape(_true(scored, i))}"
        figures.append(_photo(data, rows[places[i]], caption))
    return "".join(figures) or "<p>None.</p>"


def _places(scored: Scored) -> NDArray[np.int64]:
    if scored.rows is None:
        raise ValueError("scored.rows: needed to show the photos; use scoring.score to make it")
    return scored.rows


def _true(scored: Scored, i: int) -> str:
    if scored.positives is None:
        return scored.head.labels[int(scored.targets[i])].value
    return ", ".join(scored.head.labels[label].value for label in np.flatnonzero(scored.positives[i]))


def _retrieval(found: Measured, near: Neighbours, data: Path) -> str:
    report = found.report
    bits = {
        int(name): value for name, figures in report["bits"].items() if (value := figures["recall_at_1"]) is not None
    }
    plot = recall_plot(bits, report["retrieval"]["float"]["recall_at_1"], "Recall at 1 by bits of the hash")
    order = metrics.nearest(near.by_hash)[:, 0]
    lost = near.catalogue_ids[order] != near.photo_ids
    own = np.where(near.catalogue_ids[None, :] == near.photo_ids[:, None], near.by_hash, np.iinfo(np.int32).max)
    far = own.min(1) - near.by_hash.min(1)  # bits by which the correct photo is farther than the nearest one
    worst = np.flatnonzero(lost)[np.argsort(-far[lost], kind="stable")][:WORST]
    rows = found.predicted.rows
    figures = []
    for i in worst:
        theirs, ours = near.catalogue[order[i]], near.catalogue[own[i].argmin()]
        trio = ((near.photos[i], "photo"), (theirs, f"{near.by_hash[i].min()} bits: nearest"))
        shown = [*trio, (ours, f"{own[i].min()} bits: its own")]
        figures += [_photo(data, rows[place], f"{text}<br>{_product(rows[place])}") for place, text in shown]
    trios = "".join(f"<div class=row>{''.join(figures[i : i + 3])}</div>" for i in range(0, len(figures), 3))
    return (
        f"<h2>Photo → catalogue photo</h2><div class=row>{plot}<p class=soft>The dashed line is the float embedding. "
        f"A dot is that number of first bits of the hash.</p></div><h3>Farthest from their own catalogue photo</h3>"
        f"<div class=row>{trios or '<p>None.</p>'}</div>"
    )


def _product(row: Row) -> str:
    return f"<b>{escape(row.get('product', ''))}</b>"


def _photo(data: Path, row: Row, caption: str) -> str:
    """A small inline copy of the photo with `caption`, which is HTML. Without the photo, the caption."""
    try:
        small = base64.b64encode(thumbnail(read_photo(data, row["path"]), SIDE)).decode()
        image = f'<img alt="" src="data:image/webp;base64,{small}">'
    except (Invalid, OSError):
        image = ""
    path = escape(row["path"], quote=True)
    return f'<figure title="{path}">{image}<figcaption>{caption}</figcaption></figure>'
