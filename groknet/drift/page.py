"""The report as one HTML page without scripts or further files. Labels are text of strangers and are escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from groknet.drift.history import Drift, HeadDrift

CHANGED, WATCH = 0.2, 0.1
FEW = 500  # photos; below, chance alone reaches a tenth
_STYLE = """
:root{color-scheme:light dark;--ink:#1c1c1e;--soft:#6b6b70;--line:#d8d8dc;--page:#fff;--now:#1f6feb;--then:#b9bbc2;
--bad:#c62828}
@media (prefers-color-scheme:dark){:root{--ink:#ececef;--soft:#9a9aa2;--line:#3a3a40;--page:#161618;--now:#6ea8fe;
--then:#54565e;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:60rem;margin:2rem auto;
padding:0 1rem}
h2{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:1rem}
table{border-collapse:collapse;margin:.5rem 0}.wide{overflow-x:auto}
th,td{padding:.15rem .7rem;text-align:right;border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}.soft{color:var(--soft)}.bad{color:var(--bad);font-weight:600}
.bars{width:14rem}.bars i{display:block;height:.45rem;min-width:1px}.bars .now{background:var(--now)}
.bars .then{background:var(--then)}
svg{width:7rem;height:1.4rem;vertical-align:middle}svg polyline{fill:none;stroke:var(--now);stroke-width:2}
svg line{stroke:var(--bad);stroke-dasharray:3 3}
summary{cursor:pointer}
"""


def drift_page(drift: Drift) -> str:
    """The page of a period."""
    end = datetime.fromtimestamp(drift.end, UTC)
    title = f"Drift in the {drift.days:g} days before {end:%Y-%m-%d %H:%M} UTC"
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{_sentence(drift)}</p>",
        "<h2>Heads</h2>",
        _heads(drift.heads),
        "<p class=soft>PSI: population-stability index against the bundle's baseline. Below 0.1 nothing changed, above "
        "0.2 the answers have changed. <i>label</i> compares the first label that is offered, <i>score</i> the best "
        "probability. Live photos have no labels, so this page cannot say whether answers are right. It says where to "
        "look: if scores moved, calibration no longer holds.</p>",
        "<h2>Kinds of photos</h2>",
        _shares_table(drift.domains, drift.baseline_domains, "domain"),
        "<h2>Searches</h2>",
        f"<p>{_searches(drift)}</p>",
        "<h2>Alerts that fired</h2>",
        _alerts(drift),
        "<h2>What changed</h2>",
        *(_details(one) for one in drift.heads),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _sentence(drift: Drift) -> str:
    changed = [one for one in drift.heads if one.psi > CHANGED and one.photos >= FEW]
    said = f"{drift.photos:,.0f} photos. "
    if not changed:
        return said + "No head with enough photos has drifted."
    names = ", ".join(dict.fromkeys(escape(one.head) for one in changed))
    return said + f"<span class=bad>Drifted: {names}.</span> Look at twenty photos of each changed label below."


def _heads(heads: list[HeadDrift]) -> str:
    rows = [
        f"<tr><td>{escape(one.head)}</td><td>{escape(one.of)}</td><td>{escape(one.version)}</td>"
        f"<td>{one.photos:,.0f}{' (few)' if one.photos < FEW else ''}</td>"
        f"<td{' class=bad' if one.psi > CHANGED and one.photos >= FEW else ''}>{one.psi:.3f}</td>"
        f"<td>{_curve(one.by_day)}</td></tr>"
        for one in heads
    ]
    head = "<tr><th>head</th><th>of</th><th>model</th><th>photos</th><th>PSI</th><th>over time</th></tr>"
    return f"<div class=wide><table>{head}{''.join(rows)}</table></div>"


def _curve(points: list[float | None]) -> str:
    """The index over time, up to twice the limit; the broken line is the limit."""
    known = [(i, min(value, 2 * CHANGED)) for i, value in enumerate(points) if value is not None]
    if len(known) < 2:
        return ""
    width, height, last = 100, 20, max(1, len(points) - 1)
    drawn = " ".join(f"{width * i / last:.1f},{height * (1 - value / (2 * CHANGED)):.1f}" for i, value in known)
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none"><line x1="0" x2="{width}" y1="10" y2="10"/>'
        f'<polyline points="{drawn}"/></svg>'
    )


def _shares_table(live: dict[str, float], baseline: dict[str, float], what: str) -> str:
    names = sorted(live.keys() | baseline.keys(), key=lambda name: -abs(live.get(name, 0) - baseline.get(name, 0)))
    if not names:
        return "<p class=soft>Nothing was counted.</p>"
    rows = []
    for name in names:
        now, then = live.get(name, 0.0), baseline.get(name)
        expected = "–" if then is None else f"{then:.1%}"
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{now:.1%}</td><td>{expected}</td>"
            f"<td>{'' if then is None else f'{100 * (now - then):+.1f}'}</td>"
            f'<td class=bars><i class=now style="width:{100 * now:.1f}%"></i>'
            f'<i class=then style="width:{100 * (then or 0):.1f}%"></i></td></tr>'
        )
    head = f"<tr><th>{what}</th><th>now</th><th>baseline</th><th>points</th><th></th></tr>"
    return f"<div class=wide><table>{head}{''.join(rows)}</table></div>"


def _searches(drift: Drift) -> str:
    if drift.no_close is None:
        return "Nobody searched."
    return f"{drift.searches:,.0f} searches. {drift.no_close:.1%} found no listing that is close to their photo."


def _alerts(drift: Drift) -> str:
    if not drift.alerts:
        return "<p>None.</p>"
    rows = (f"<tr><td>{escape(name)}</td><td>{share:.1%}</td></tr>" for name, share in sorted(drift.alerts.items()))
    return f"<table><tr><th>alert</th><th>of the time</th></tr>{''.join(rows)}</table>"


def _details(one: HeadDrift) -> str:
    opened = " open" if one.psi > WATCH else ""
    title = f"{escape(one.head)}, {escape(one.of)}: PSI {one.psi:.3f}"
    return (
        f"<details{opened}><summary>{title}</summary>{_shares_table(one.live, one.baseline, escape(one.of))}</details>"
    )
