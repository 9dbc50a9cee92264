"""Plots as inline SVG, so that the report needs no library. Colours come from the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from training.evaluation.metrics import Bin

WIDTH, HEIGHT = 320, 240
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 12, 12, 36  # room for the axes' numbers and names
Point = tuple[float, float]


def reliability_plot(bins: Sequence[Bin], title: str) -> str:
    """Mean probability against the share of correct answers: one dot for each bin, its area its share of predictions.
    A perfectly calibrated head is on the diagonal."""
    total = sum(one.count for one in bins)
    dots = [
        f'<circle cx="{_x(one.said)}" cy="{_y(one.right)}" r="{3 + 14 * (one.count / total) ** 0.5:.1f}">'
        f"<title>probability {one.said:.3f}, correct {one.right:.3f}, {one.count} predictions</title></circle>"
        for one in bins
    ]
    line = _line([(one.said, one.right) for one in bins], "curve")
    body = [_line([(0.0, 0.0), (1.0, 1.0)], "ideal"), line, *dots]
    return _frame(body, title, "probability", "correct", {0.0: "0", 0.5: "0.5", 1.0: "1"})


def recall_plot(by_bits: Mapping[int, float], by_float: float, title: str) -> str:
    """Recall at 1 against the number of bits, from 0 to the largest of `by_bits`. The dashed line, `by_float`, is the
    recall of the float embedding."""
    most = max(by_bits)
    places = [(bits / most, value) for bits, value in sorted(by_bits.items())]
    dots = [
        f'<circle cx="{_x(x)}" cy="{_y(value)}" r="4"><title>{round(x * most)} bits: {value:.3f}</title></circle>'
        for x, value in places
    ]
    body = [_line([(0.0, by_float), (1.0, by_float)], "ideal"), _line(places, "curve"), *dots]
    return _frame(body, title, "bits", "recall at 1", {0.0: "0", 0.5: str(most // 2), 1.0: str(most)})


def _x(share: float) -> float:
    return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)


def _line(places: Sequence[Point], kind: str) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{_x(x)},{_y(y)}" for x, y in places)}"/>'


def _frame(body: Sequence[str], title: str, across: str, up: str, ticks: Mapping[float, str]) -> str:
    """The axes around `body`. Both go from 0 to 1; `ticks` labels places on the horizontal one."""
    middle = _y(0.5)
    axes = [
        _line([(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)], "axis"),
        *(f'<text class="tick" x="{_x(x)}" y="{_y(0) + 14}">{text}</text>' for x, text in ticks.items()),
        *(f'<text class="up" x="{_LEFT - 5}" y="{_y(y) + 4}">{y:g}</text>' for y in (0.0, 0.5, 1.0)),
        f'<text class="tick" x="{_x(0.5)}" y="{HEIGHT - 6}">{escape(across)}</text>',
        f'<text class="tick" x="11" y="{middle}" transform="rotate(-90 11 {middle})">{escape(up)}</text>',
    ]
    inside = "".join([*axes, *body])
    return f'<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}"><title>{escape(title)}</title>{inside}</svg>'
