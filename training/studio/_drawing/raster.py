"""A z-buffer in numpy: triangles become row spans, spans become pixels, and the nearest pixel wins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.studio._shapes.mesh import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Fragments:
    """The visible fragments: `pixel` [k] flat indices (y * width + x), `face` [k], `weights` [k, 3] barycentric in the
    picture plane, `nearness` [k] (the interpolated value that won)."""

    pixel: Ints
    face: Ints
    weights: Floats
    nearness: Floats


@dataclass(frozen=True)
class _Spans:
    """Runs of pixels inside a triangle: its number, the row, the first column, the number of pixels; each [s]."""

    owner: Ints
    y: Ints
    first: Ints
    lengths: Ints


def rasterise(xy: Floats, nearness: Floats, faces: NDArray[np.int32], width: int, height: int) -> Fragments:
    """The visible fragments of triangles.

    xy float32 [n, 2] in pixels (centres of pixels at whole numbers), nearness float32 [n] > 0, linear in the
    picture plane (1 / depth in perspective), larger is nearer; faces [m, 3].
    """
    a, b, c = (xy[faces[:, k]].astype(np.float64) for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    y0 = np.maximum(np.ceil(np.minimum(np.minimum(a[:, 1], b[:, 1]), c[:, 1])), 0).astype(np.int64)
    y1 = np.minimum(np.floor(np.maximum(np.maximum(a[:, 1], b[:, 1]), c[:, 1])), height - 1).astype(np.int64)
    keep = np.flatnonzero((np.abs(area) > 1e-9) & (y1 >= y0))
    a, b, c, area, y0 = a[keep], b[keep], c[keep], area[keep], y0[keep]
    rows = y1[keep] - y0 + 1
    owner = np.repeat(np.arange(len(keep)), rows)
    y = y0[owner] + _count_up(rows)
    start = np.full(len(owner), -0.5)
    stop = np.full(len(owner), width - 0.5)
    corners = (a, b, c)
    for k in range(3):
        p, q = corners[k], corners[(k + 1) % 3]
        dx, dy = (q - p)[:, 0], (q - p)[:, 1]
        sign = np.sign(area)
        # Inside: sign * (dx * (y - py) - dy * (x - px)) >= 0.
        slope = -dy * sign
        flat = np.abs(slope) < 1e-12
        safe = np.where(flat, 1.0, slope)
        cross = (p[:, 0] - (dx * sign / safe) * -p[:, 1])[owner] - (dx * sign / safe)[owner] * y
        positive, none = (slope > 0)[owner], flat[owner]
        start = np.where(positive & ~none, np.maximum(start, cross), start)
        stop = np.where(~positive & ~none, np.minimum(stop, cross), stop)
    first = np.maximum(np.ceil(start), 0).astype(np.int64)
    last = np.minimum(np.floor(stop), width - 1).astype(np.int64)
    spans = np.flatnonzero(last >= first)
    owner, y, first = owner[spans], y[spans], first[spans]
    lengths = last[spans] - first + 1
    return _resolve(
        _planes(a, b, c, area, nearness[faces[keep]]), keep, _Spans(owner, y, first, lengths), width, height
    )


def _count_up(counts: Ints) -> Ints:
    """0..counts[i]-1 for every i, concatenated."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - counts, counts)


def _planes(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    area: NDArray[np.float64],
    nearness: Floats,
) -> NDArray[np.float64]:
    """[m, 9]: value = k0 * x + k1 * y + k2 for nearness, and for the weights of the second and third corners.

    a, b, c [m, 2]: corners in pixels; area [m]: twice the signed area; nearness [m, 3]: at the corners.
    """
    w1 = np.stack([c[:, 1] - a[:, 1], a[:, 0] - c[:, 0]], axis=1) / area[:, None]
    w2 = np.stack([a[:, 1] - b[:, 1], b[:, 0] - a[:, 0]], axis=1) / area[:, None]
    out = np.empty((len(a), 9))
    for k, w in ((3, w1), (6, w2)):
        out[:, k : k + 2] = w
        out[:, k + 2] = -(w * a).sum(axis=1)
    n = nearness.astype(np.float64)
    out[:, :3] = (n[:, 1] - n[:, 0])[:, None] * out[:, 3:6] + (n[:, 2] - n[:, 0])[:, None] * out[:, 6:9]
    out[:, 2] += n[:, 0]
    return out


def _resolve(planes: NDArray[np.float64], keep: Ints, spans: _Spans, width: int, height: int) -> Fragments:
    """Spans to pixels; the nearest span of every pixel, then its barycentric weights."""
    owner, y, first, lengths = spans.owner, spans.y, spans.first, spans.lengths
    at_start = planes[owner, 0] * first + planes[owner, 1] * y + planes[owner, 2]
    step = _count_up(lengths)
    span = np.repeat(np.arange(len(owner)), lengths)
    near = (at_start[span] + planes[owner, 0][span] * step).astype(np.float32)
    pixel = (y * width + first)[span] + step
    # A positive float's bits order as the float does: nearness above, the span below, so that one maximum decides.
    key = (near.view(np.int32).astype(np.int64) << 32) | span
    best = np.full(width * height, -1, np.int64)
    np.maximum.at(best, pixel, key)
    seen = np.flatnonzero(best >= 0)
    span = best[seen] & 0xFFFFFFFF
    face = owner[span]
    px, py = seen % width, seen // width
    p = planes[face]
    w1 = p[:, 3] * px + p[:, 4] * py + p[:, 5]
    w2 = p[:, 6] * px + p[:, 7] * py + p[:, 8]
    weights = np.stack([1 - w1 - w2, w1, w2], axis=1).astype(np.float32)
    nearness = (best[seen] >> 32).astype(np.int32).view(np.float32)
    return Fragments(seen, keep[face], weights, nearness)
