"""Triangle meshes and the primitives that all products are made of.

Lengths are in object units (a product is scaled to about 1 afterwards); z points up. Arrays are float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]  # float32 wherever it is stored

BODY, PLAIN, TRIM, INNER = range(4)  # slots: printed body, unprinted body, trim (legs, caps), inside of a vessel


@dataclass(frozen=True)
class Mesh:
    """points and normals [n, 3]; uv [n, 2], about one unit for each unit of length; faces [m, 3]; slots uint8 [m]."""

    points: Floats
    normals: Floats
    uv: Floats
    faces: NDArray[np.int32]
    slots: NDArray[np.uint8]

    def move(self, x: float = 0, y: float = 0, z: float = 0) -> Mesh:
        """The mesh shifted by (x, y, z)."""
        return replace(self, points=self.points + np.array([x, y, z], np.float32))

    def turn(self, matrix: ArrayLike) -> Mesh:
        """The mesh rotated by a 3 x 3 rotation matrix."""
        m = np.asarray(matrix, np.float32)
        return replace(
            self, points=np.einsum("ij,kj->ik", self.points, m), normals=np.einsum("ij,kj->ik", self.normals, m)
        )

    def stretch(self, x: float = 1, y: float = 1, z: float = 1) -> Mesh:
        """The mesh scaled along each axis; normals are scaled by the inverse."""
        factors = np.array([x, y, z], np.float32)
        return replace(self, points=self.points * factors, normals=unit(self.normals / factors))


def unit(vectors: Floats) -> Floats:
    """Vectors [..., d] of any float type → float32 [..., d] of length 1 along the last axis. The zero vector stays
    zero."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None]
    out: Floats = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return out


def join(parts: Sequence[Mesh]) -> Mesh:
    """One mesh of all parts."""
    starts = np.cumsum([0] + [len(part.points) for part in parts[:-1]])
    return Mesh(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.uv for part in parts]),
        np.concatenate([part.faces + np.int32(s) for part, s in zip(parts, starts, strict=True)]),
        np.concatenate([part.slots for part in parts]),
    )


def sheet(grid: Floats, uv: Floats, slot: int = BODY, wrap: bool = False) -> Mesh:
    """The surface through a grid of points [p, q, 3] with texture coordinates uv [p, q, 2], both float32. `wrap`:
    column 0 equals column -1."""
    rows, columns = grid.shape[:2]
    down = np.gradient(grid, axis=0)
    if wrap:
        ring = np.concatenate([grid[:, -2:-1], grid, grid[:, 1:2]], axis=1)
        along = (ring[:, 2:] - ring[:, :-2]) / 2
    else:
        along = np.gradient(grid, axis=1)
    normals = np.cross(down, along)
    flat = np.einsum("ijk,ijk->ij", normals, normals) < 1e-16  # a pole: take the next row's mean
    if flat[0].all():
        normals[0] = normals[1].mean(axis=0)
    if flat[-1].all():
        normals[-1] = normals[-2].mean(axis=0)
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([a, c, d], axis=-1).reshape(-1, 3)])
    return Mesh(
        grid.reshape(-1, 3).astype(np.float32),
        unit(normals.reshape(-1, 3).astype(np.float32)),
        uv.reshape(-1, 2).astype(np.float32),
        faces,
        np.full(len(faces), slot, np.uint8),
    )


def smooth(points: ArrayLike, count: int = 28) -> Floats:
    """`count` points, float32 [count, d], of the Catmull-Rom curve through `points` [p, d], any dtype (centripetal ends
    repeated)."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, len(p) - 3 - 1e-9, count)
    i = t.astype(int)
    f = (t - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    curve: Floats = 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)
    return curve.astype(np.float32)


def bevel(points: Sequence[Sequence[float]], by: float = 0.012) -> Floats:
    """The polyline through `points` [p, d] as float32 [2p - 2, d]. Each inner corner is cut by `by` scene units on
    either side, so that edges reflect light as real ones do."""
    p = np.asarray(points, np.float64)
    out = [p[0]]
    for before, corner, after in zip(p[:-2], p[1:-1], p[2:], strict=True):
        for other in (before, after):
            reach = float(np.linalg.norm(other - corner))
            out.append(corner + (other - corner) * min(by / max(reach, 1e-9), 0.4))
    return np.asarray([*out, p[-1]], np.float32)


def lathe(profile: ArrayLike, slot: int = BODY, segments: int = 36) -> Mesh:
    """The profile [p, 2] of (radius, z) turned about z; u goes around a whole number of quarters, v along it."""
    line = np.maximum(np.asarray(profile, np.float32), [0, -np.inf]).astype(np.float32)
    angle = np.linspace(0, 2 * np.pi, segments + 1, dtype=np.float32)
    angle[-1] = 0
    grid = np.empty((len(line), segments + 1, 3), np.float32)
    grid[..., 0] = line[:, :1] * np.cos(angle)
    grid[..., 1] = line[:, :1] * np.sin(angle)
    grid[..., 2] = line[:, 1:]
    around = max(round(2 * np.pi * float(line[:, 0].max()) * 4), 4) / 4
    lengths = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    uv = np.empty((*grid.shape[:2], 2), np.float32)
    uv[..., 0] = np.linspace(0, around, segments + 1)
    uv[..., 1] = lengths[:, None]
    return sheet(grid, uv, slot, wrap=True)


def tube(path: ArrayLike, radius: float | Sequence[float], slot: int = PLAIN, segments: int = 10) -> Mesh:
    """A round bar along `path` [p, 3] with closed ends; `radius` is one number, or one for each point of the path."""
    line = np.asarray(path, np.float32)
    radii = np.broadcast_to(np.asarray(radius, np.float32), len(line))
    line = np.concatenate([line[:1], line, line[-1:]])
    radii = np.concatenate([[0], radii, [0]])
    tangent = unit(np.gradient(line, axis=0).astype(np.float32))
    # One fixed side vector, least along the path's chord, keeps the ring from twisting.
    spread = np.abs(tangent).mean(axis=0)
    side = np.zeros(3, np.float32)
    side[int(spread.argmin())] = 1
    first = unit(np.cross(tangent, side).astype(np.float32))
    second = np.cross(tangent, first)
    angle = np.linspace(0, 2 * np.pi, segments + 1, dtype=np.float32)
    angle[-1] = 0
    ring = first[:, None] * np.cos(angle)[:, None] + second[:, None] * np.sin(angle)[:, None]
    grid = line[:, None] + ring * radii[:, None, None]
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    uv = np.empty((*grid.shape[:2], 2), np.float32)
    uv[..., 0] = np.linspace(0, 0.25, segments + 1)
    uv[..., 1] = lengths[:, None]
    return sheet(grid, uv, slot, wrap=True)


def block(size: tuple[float, float, float], slot: int = BODY, round_by: float = 0.02, fine: int = 2) -> Mesh:
    """A box of `size` (x, y, z) standing on z = 0, centred in x and y, with edges rounded by `round_by`."""
    half = np.asarray(size, np.float32) / 2
    r = min(round_by, float(half.min()) * 0.98)
    parts = []
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        for sign in (-1.0, 1.0):
            s, t = _edge_loop(float(half[b]), r, fine), _edge_loop(float(half[c]), r, fine)
            grid = np.empty((len(s), len(t), 3), np.float32)
            grid[..., axis] = sign * half[axis]
            grid[..., b] = s[:, None] * sign
            grid[..., c] = t[None, :]
            core = np.clip(grid, -(half - r), half - r)
            away = unit(grid - core)
            uv = np.stack([grid[..., b] + half[b], grid[..., c] + half[c]], axis=-1)
            if axis == 0:  # keep v upright on every side
                uv = uv[..., ::1]
            elif axis == 1:
                uv = uv[..., ::-1]
            part = sheet(core + away * r, uv, slot)
            parts.append(replace(part, normals=away.reshape(-1, 3)))
    return join(parts).move(z=float(half[2]))


def _edge_loop(half: float, r: float, fine: int) -> Floats:
    """Grid lines across a face: dense over the rounding, `fine` cells between."""
    ends = half - r + r * np.tan(np.linspace(0, np.pi / 4, 4))
    return np.concatenate([-ends[::-1], np.linspace(r - half, half - r, fine + 1)[1:-1], ends]).astype(np.float32)


def ball(radius: float = 0.5, slot: int = BODY, segments: int = 36) -> Mesh:
    """A sphere standing on z = 0."""
    turn = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    return lathe(np.stack([radius * np.cos(turn), radius + radius * np.sin(turn)], axis=1), slot, segments)
