"""The curves of a run as one picture, `RUN/curves.svg`: the loss, and the score on validation photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.files import write_file

FILE = "curves.svg"
WIDTH, HEIGHT = 480, 200  # of each of the two plots
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 28, 16, 36
_STYLE = (
    "text{font:12px sans-serif;fill:#444}.frame{fill:none;stroke:#bbb}polyline{fill:none;stroke:#2166ac;"
    "stroke-width:1.5}circle{fill:#2166ac}"
)
Point = tuple[float, float]


def write_curves(out: Path, history: Sequence[Mapping[str, float]], scores: Sequence[tuple[int, float]]) -> None:
    """Write `out/curves.svg` from the records of a run: `step` and `loss`, and pairs of step and score. Nothing is
    written before the first record."""
    losses = [(record["step"], record["loss"]) for record in history]
    if not losses:
        return
    most = max([step for step, _ in losses] + [step for step, _ in scores])
    plots = [_plot(losses, "loss", most, max(loss for _, loss in losses), 0)]
    if scores:
        plots.append(_plot([(float(s), v) for s, v in scores], "right first labels on validation photos", most, 1.0, 1))
    height = HEIGHT * len(plots)
    body = "".join(plots)
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}"><style>{_STYLE}</style><rect width="{WIDTH}" height="{height}" fill="white"/>{body}</svg>'
    )
    write_file(out / FILE, text)


def _plot(points: Sequence[Point], title: str, last: float, top: float, row: int) -> str:
    """One plot of steps 0 to `last` and values 0 to `top`, below `row` others."""
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    above = row * HEIGHT + _TOP

    def place(step: float, value: float) -> Point:
        return round(_LEFT + wide * step / last, 1), round(above + high * (1 - value / (top or 1.0)), 1)

    places = [place(*point) for point in points]
    line = " ".join(f"{x},{y}" for x, y in places)
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="2.5"><title>step {step:.0f}: {value:.3f}</title></circle>'
        for (x, y), (step, value) in zip(places, points, strict=True)
    )
    return (
        f'<text x="{_LEFT}" y="{above - 10}">{title}</text>'
        f'<rect class="frame" x="{_LEFT}" y="{above}" width="{wide}" height="{high}"/>'
        f'<text x="{_LEFT - 6}" y="{above + 10}" text-anchor="end">{top:.3g}</text>'
        f'<text x="{_LEFT - 6}" y="{above + high}" text-anchor="end">0</text>'
        f'<text x="{_LEFT + wide}" y="{above + high + 18}" text-anchor="end">step {last:.0f}</text>'
        f'<polyline points="{line}"/>{dots}'
    )
