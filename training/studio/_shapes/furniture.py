"""Builders of stool, chair, table, bag, carton and cushion; arguments and results as in `vessels.py`."""

from __future__ import annotations

import numpy as np

from training.studio._shapes.mesh import BODY, PLAIN, TRIM, Mesh, bevel, block, join, lathe, sheet, tube
from training.studio._shapes.vessels import Numbers, arc, lerp


def _legs(
    half_x: float, half_y: float, top: float, *, splay: float, radius: float, slot: int, square: bool
) -> list[Mesh]:
    """Four legs from under a seat to the floor, splayed outwards."""
    parts = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            if square and splay < 0.05:
                parts.append(block((radius * 2, radius * 2, top), slot, 0.01).move(sx * half_x, sy * half_y))
                continue
            foot = [sx * (half_x + splay), sy * (half_y + splay), 0]
            parts.append(tube([foot, [sx * half_x, sy * half_y, top]], [radius * 0.75, radius], slot, 8))
    return parts


def _disc(radius: float, low: float, high: float, slot: int = BODY) -> Mesh:
    """A flat round top between two heights; its uv are those of the plane, so that prints are straight."""
    line = bevel([[0, low], [radius, low], [radius, high], [0, high]], min(0.03, (high - low) * 0.4))
    rings = np.concatenate([line[:-1], np.linspace(line[-2], line[-1], 5)[1:]])
    mesh = lathe(rings, slot, 40)
    flat = mesh.points[:, :2] + np.array([1, 1], np.float32)
    flat[:, 1] += mesh.points[:, 2]
    return Mesh(mesh.points, mesh.normals, flat, mesh.faces, mesh.slots)


def stool(s: Numbers) -> Mesh:
    """A round or square seat on three or four legs with a ring or bars."""
    height, half, thick = lerp(0.9, 1.7, s[0]), lerp(0.36, 0.5, s[1]), lerp(0.07, 0.18, s[2])
    splay, radius = lerp(0.0, 0.18, s[3]), lerp(0.03, 0.05, s[4])
    slot = TRIM if s[5] > 0.4 else PLAIN
    under = height - thick
    if s[6] < 0.6:
        parts = [_disc(half, under, height)]
    else:
        parts = [block((2 * half, 2 * half, thick), BODY, 0.04).move(z=under)]
    if s[7] < 0.35:
        for turn in np.radians([90, 210, 330]):
            c, d = np.cos(turn), np.sin(turn)
            far, near = half * 0.75 + splay, half * 0.7
            parts.append(tube([[far * c, far * d, 0], [near * c, near * d, under]], radius, slot, 8))
    else:
        parts += _legs(half * 0.68, half * 0.68, under, splay=splay, radius=radius, slot=slot, square=s[7] > 0.7)
    c, d = arc(0, 360, 25)
    ring = half * (0.72 if s[7] < 0.35 else 0.98) + splay * 0.6
    parts.append(tube(np.stack([ring * c, ring * d, 0 * c + height * 0.32], axis=1), radius * 0.6, slot, 6))
    return join(parts)


def chair(s: Numbers) -> Mesh:
    """A seat on four legs with a solid, slatted or curved back; sometimes arms."""
    seat, half, thick = lerp(0.8, 1.0, s[0]), lerp(0.42, 0.54, s[1]), lerp(0.07, 0.17, s[2])
    tall, lean = lerp(0.75, 1.15, s[3]), lerp(0.05, 0.22, s[4])
    slot = TRIM if s[5] > 0.45 else PLAIN
    parts = [block((2 * half, 2 * half, thick), BODY, 0.04).move(z=seat - thick)]
    splay = lerp(0, 0.12, s[6])
    parts += _legs(half * 0.85, half * 0.85, seat - thick, splay=splay, radius=0.045, slot=slot, square=s[6] < 0.45)
    kind = int(s[7] * 3)
    tilt = np.arctan(lean)
    turn = [[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]]
    if kind == 0:
        back = [block((2 * half * 0.96, 0.09, tall * 0.75), BODY, 0.04).move(z=tall * 0.25)]
        back += [tube([[x, 0, 0], [x, 0, tall * 0.5]], 0.035, slot, 8) for x in (-half * 0.7, half * 0.7)]
    elif kind == 1:
        back = [block((0.08, 0.08, tall), PLAIN).move(x) for x in (-half * 0.9, half * 0.9)]
        count = 2 + int(s[11] * 3)
        wide = tall * 0.5 / count
        back += [
            block((2 * half * 0.9, 0.05, wide), BODY).move(z=tall * (0.2 + 0.8 * (i + 0.1) / count))
            for i in range(count)
        ]
    else:
        bend, up = np.linspace(-1, 1, 16), np.linspace(0.1, 1, 8)
        grid = np.empty((8, 16, 3), np.float32)
        taper = 1 - 0.25 * up[:, None] ** 4
        grid[..., 0] = half * np.sin(bend * 1.2) / np.sin(1.2) * taper
        grid[..., 1] = half * 0.5 * (np.cos(bend * 1.2) - 1)
        grid[..., 2] = tall * up[:, None]
        uv = np.stack([grid[..., 0] + half, grid[..., 2]], axis=-1)
        front = sheet(grid, uv)
        back = [front, front.move(y=0.05), tube(grid[-1], 0.04), tube(grid[:, 0], 0.035), tube(grid[:, -1], 0.035)]
    parts += [part.turn(turn).move(y=half * 0.93, z=seat - 0.03) for part in back]
    if s[11] > 0.72:
        for x in (-half, half):
            arm = [[x, half * 0.9, seat + 0.4], [x, -half * 0.6, seat + 0.38], [x, -half * 0.7, seat]]
            parts.append(tube(arm, 0.045, slot, 8))
    return join(parts)


def table(s: Numbers) -> Mesh:
    """A round, square or long top on four legs, a pedestal or two panels."""
    height, thick = lerp(0.7, 1.15, s[0]), lerp(0.05, 0.12, s[1])
    x, y = lerp(0.6, 1.05, s[2]), lerp(0.5, 0.7, s[3])
    slot = TRIM if s[4] > 0.4 else PLAIN
    round_top = s[5] > 0.6
    under = height - thick
    if round_top:
        x = y = lerp(0.6, 0.8, s[3])
        parts = [_disc(x, under, height)]
    else:
        parts = [block((2 * x, 2 * y, thick), BODY, 0.03).move(z=under)]
    kind = s[6]
    if round_top and kind < 0.5:
        foot = x * 0.55
        line: list[list[float]] = [
            [0, 0],
            [foot, 0],
            [foot, 0.05],
            [0.07, 0.14],
            [0.06, under - 0.1],
            [0.2, under],
            [0, under],
        ]
        parts.append(lathe(bevel(line, 0.03), slot))
    elif not round_top and kind > 0.8:
        parts += [block((0.08, 2 * y * 0.9, under), slot).move(side * x * 0.8) for side in (-1, 1)]
    else:
        at = 0.64 if round_top else 0.88
        splay, radius = lerp(0, 0.1, s[7]), lerp(0.035, 0.06, s[11])
        parts += _legs(x * at, y * at, under, splay=splay, radius=radius, slot=slot, square=s[7] < 0.5)
        if not round_top and s[11] > 0.5:  # an apron under the top
            parts.append(block((2 * x * 0.86, 2 * y * 0.86, 0.12), slot).move(z=under - 0.12))
    return join(parts)


def bag(s: Numbers) -> Mesh:
    """A tote with two handles, or a satchel with a flap and a strap."""
    wide, high, deep = lerp(0.8, 1.3, s[0]), lerp(0.75, 1.2, s[1]), lerp(0.26, 0.46, s[2])
    taper = lerp(-0.12, 0.22, s[3])
    body = block((wide, deep, high), BODY, lerp(0.03, 0.11, s[4]), fine=6)
    z = body.points[:, 2] / high
    points = body.points * np.stack([1 - taper * z, 1 - lerp(0.1, 0.55, s[5]) * z, 1 + 0 * z], axis=1)
    body = Mesh(points.astype(np.float32), body.normals, body.uv, body.faces, body.slots)
    c, d = arc(0, 180, 20)
    slot = TRIM if s[11] > 0.45 else PLAIN
    if s[6] < 0.65:
        reach, drop = wide * lerp(0.18, 0.28, s[7]), lerp(0.3, 0.55, s[7])
        path = np.stack([reach * c, 0 * c, high - 0.05 + drop * d], axis=1)
        depth = deep * (1 - lerp(0.1, 0.55, s[5])) / 2
        return join([body, *(tube(path, 0.03, slot, 8).stretch(y=0.8).move(y=side * depth) for side in (-1, 1))])
    flap_h = high * lerp(0.35, 0.6, s[7])
    flap = block((wide * (1 - taper * 0.7) * 1.01, 0.04, flap_h), slot, 0.02)
    lid = flap.move(y=-deep * (1 - lerp(0.1, 0.55, s[5]) * 0.8) / 2 - 0.015, z=high - flap_h + 0.015)
    tab = block((0.12, 0.05, 0.16), TRIM, 0.02).move(y=-deep * 0.5, z=high - flap_h - 0.08)
    path = np.stack([wide * 0.42 * c, 0 * c, high - 0.06 + 0.35 * d], axis=1)
    return join([body, lid, tab, tube(path, 0.035, TRIM, 8)])


def carton(s: Numbers) -> Mesh:
    """A parcel with tape, a tall packet, an open box or a milk carton with its gable."""
    kind = int(s[0] * 4)
    if kind == 3:
        half, high, peak = lerp(0.3, 0.38, s[1]), lerp(0.8, 1.15, s[2]), lerp(0.28, 0.42, s[3])
        box = block((2 * half, 2 * half, high), BODY, 0.015)
        roof = np.array(
            [[[-half, -half, high], [half, -half, high]], [[-half, 0, high + peak], [half, 0, high + peak]]]
        )
        uv = roof[..., [0, 2]] + half
        front = sheet(roof.astype(np.float32), uv.astype(np.float32), PLAIN)
        back = sheet((roof * [1, -1, 1]).astype(np.float32), uv.astype(np.float32), PLAIN)
        gable = np.array([[[-half, -half, high], [-half, half, high]], [[-half, 0, high + peak]] * 2], np.float32)
        ends = [sheet((gable * [side, 1, 1]).astype(np.float32), gable[..., 1:], PLAIN) for side in (1, -1)]
        crest = block((2 * half, 0.03, 0.14), PLAIN, 0.01).move(z=high + peak - 0.02)
        return join([box, front, back, *ends, crest])
    wide, deep = lerp(0.7, 1.2, s[1]), lerp(0.5, 0.9, s[2])
    high = lerp(0.35, 0.8, s[3]) if kind < 2 else lerp(1.1, 1.5, s[3])
    if kind == 2:
        deep *= 0.5
    box = block((wide, deep, high), BODY, 0.015)
    if kind == 2:
        label = block((wide * 0.6, 0.01, high * 0.3), TRIM, 0.004).move(y=-deep / 2, z=high * lerp(0.3, 0.6, s[4]))
        return join([box, label])
    tape = block((lerp(0.1, 0.18, s[4]), deep + 0.012, high * 0.3), TRIM, 0.004).move(z=high * 0.7 + 0.006)
    parts = [box, tape]
    if kind == 1:  # flaps standing open
        for side in (-1, 1):
            lean = side * lerp(0.5, 1.0, s[5])
            turn = [[1, 0, 0], [0, np.cos(lean), np.sin(lean)], [0, -np.sin(lean), np.cos(lean)]]
            flap = block((wide * 0.98, 0.02, deep * 0.48), PLAIN, 0.006)
            parts.append(flap.turn(turn).move(y=side * deep / 2, z=high - 0.01))
    return join(parts)


def cushion(s: Numbers) -> Mesh:
    """A stuffed square, long or round pillow, leaning back as in a shop."""
    power = 2.0 if s[0] > 0.8 else lerp(3.5, 7.0, s[1])
    wide, thick = lerp(0.5, 0.75, s[2]) if s[0] < 0.5 else 0.5, lerp(0.14, 0.24, s[3])
    t = np.linspace(-1, 1, 25)
    u, v = np.meshgrid(t, t)
    # The square's grid drawn to the pillow's outline: |x|^p + |y|^p <= 1.
    edge = np.maximum(np.abs(u), np.abs(v))
    size = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    pull = np.where(size > 1e-6, edge / np.maximum(size, 1e-6), 1)
    x, y = u * pull, v * pull
    if s[0] <= 0.8:  # the corners of a stuffed cover stick out
        ear = 1 + lerp(0.0, 0.12, s[4]) * np.abs(u * v) ** 2
        x, y = x * ear, y * ear
    puff = thick * np.sqrt(np.maximum(1 - edge**2.4, 0)) * (1 - 0.25 * edge)
    uv = np.stack([x * wide + 1, y * 0.5 + 1], axis=-1).astype(np.float32)
    front = np.stack([x * wide, -puff, y * 0.5], axis=-1).astype(np.float32)
    back = np.stack([x * wide, puff, y * 0.5], axis=-1).astype(np.float32)
    rim = np.concatenate([front[0], front[1:, -1], front[-1, -2::-1], front[-2::-1, 0]])
    parts = [sheet(front, uv), sheet(back, uv), tube(rim, 0.014, TRIM if s[5] > 0.5 else PLAIN, 6)]
    lean = lerp(0.15, 0.5, s[6])
    turn = [[1, 0, 0], [0, np.cos(lean), np.sin(lean)], [0, -np.sin(lean), np.cos(lean)]]
    whole = join(parts).turn(turn)
    return whole.move(z=-float(whole.points[:, 2].min()))
