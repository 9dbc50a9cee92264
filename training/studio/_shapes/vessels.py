"""Builders of round products: mug, bottle, bowl, vase, plate, teapot, bucket, ball, lamp, hat.

Each takes the shape numbers s (floats in [0, 1)) and returns a mesh standing on z = 0 in its own units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.studio._shapes.mesh import (
    BODY,
    INNER,
    PLAIN,
    TRIM,
    Floats,
    Mesh,
    ball,
    bevel,
    join,
    lathe,
    sheet,
    smooth,
    tube,
)

Numbers = Sequence[float]


def lerp(low: float, high: float, t: float) -> float:
    """The number at fraction t between low and high."""
    return low + (high - low) * t


def arc(start: float, stop: float, count: int = 18) -> tuple[Floats, Floats]:
    """Cosine and sine, each float32 [count], of `count` angles from start to stop in degrees."""
    angle = np.radians(np.linspace(start, stop, count))
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _shell(outer: Floats, wall: float, floor: float) -> list[Mesh]:
    """A vessel open at the top: the outer profile from the foot's centre to the lip, and its inside."""
    lip = outer[-1]
    inside = outer[outer[:, 1] > floor + 1e-4].copy()
    inside[:, 0] -= wall
    inside = np.concatenate([[[0.0, floor]], [[max(inside[0, 0], 0.01), floor]], inside])
    rim = np.array([lip, [lip[0] - wall / 2, lip[1] + wall * 0.4], [lip[0] - wall, lip[1]]], np.float32)
    return [lathe(outer), lathe(rim, PLAIN), lathe(inside, INNER)]


def mug(s: Numbers) -> Mesh:
    """Straight, tapered or bellied body with a round or square handle."""
    height, foot, lip = lerp(0.75, 1.25, s[0]), lerp(0.32, 0.48, s[1]), lerp(0.4, 0.5, s[2])
    belly = lerp(-0.03, 0.1, s[3]) if s[4] > 0.4 else 0.0
    z = np.linspace(0.03, height, 12)
    side = np.stack([foot + (lip - foot) * z / height + belly * np.sin(np.pi * z / height), z], axis=1)
    outer = np.concatenate([[[0, 0], [side[0, 0] - 0.03, 0]], side]).astype(np.float32)
    mid, reach, tall = height * lerp(0.48, 0.58, s[5]), lerp(0.22, 0.36, s[6]), height * lerp(0.26, 0.36, s[7])
    at = foot + (lip - foot) * mid / height + belly * 0.9
    c, d = arc(-95, 95)
    power = 1.0 if s[4] < 0.6 else 0.45  # below one: a squarer handle
    x = at - 0.03 + reach * np.abs(c) ** power * np.where(c < 0, -0.2, 1)
    path = np.stack([x, 0 * x, mid + tall * np.sign(d) * np.abs(d) ** power], axis=1)
    handle = tube(path, lerp(0.035, 0.06, s[1]), TRIM if s[11] > 0.75 else PLAIN).stretch(y=1.4)
    return join([*_shell(outer, 0.04, 0.06), handle])


def bottle(s: Numbers) -> Mesh:
    """Wine, milk, flask or squat bottle by its shoulder and neck; a cap or cork as trim."""
    height, r = lerp(1.5, 2.3, s[0]), lerp(0.24, 0.42, s[1])
    neck, shoulder, slope = lerp(0.08, 0.15, s[2]), lerp(0.45, 0.72, s[3]), lerp(0.06, 0.2, s[4])
    waist = lerp(-0.06, 0.05, s[5]) if s[6] > 0.5 else 0.0
    low = np.linspace(0.04, shoulder * height, 8)
    body = np.stack([r + waist * np.sin(np.pi * low / (shoulder * height)), low], axis=1)
    turn = smooth(
        [
            [r, shoulder * height],
            [r * 0.9, (shoulder + slope * 0.45) * height],
            [neck * 1.25, (shoulder + slope) * height],
            [neck, min(shoulder + slope + 0.08, 0.93) * height],
        ],
        12,
    )
    top = np.array([[neck, height * 0.95], [neck * 1.15, height * 0.955], [neck * 1.15, height * 0.975]])
    line = np.concatenate([[[0, 0.01], [r - 0.04, 0]], body, turn[1:], top, [[0, height * 0.976]]])
    cap_r = neck * lerp(0.95, 1.35, s[7])
    cap_h = lerp(0.06, 0.16, s[11])
    cap = [[cap_r, height * 0.95], [cap_r, height * 0.95 + cap_h], [0, height * 0.95 + cap_h]]
    return join([lathe(line), lathe(bevel([[0, height * 0.94], *cap], 0.015), TRIM)])


def bowl(s: Numbers) -> Mesh:
    """A round or flared bowl on a foot ring."""
    height, lip, foot = lerp(0.4, 0.75, s[0]), lerp(0.6, 0.85, s[1]), lerp(0.22, 0.36, s[2])
    flare = lerp(0.35, 0.75, s[3])
    ring = lerp(0.02, 0.1, s[4])
    t = np.linspace(0, 1, 14)
    side = np.stack([foot + (lip - foot) * t**flare, ring + (height - ring) * t], axis=1)
    outer = np.concatenate([[[0, 0], [foot * 0.95, 0], [foot * 0.95, ring * 0.8]], side]).astype(np.float32)
    return join(_shell(outer, 0.035, ring + 0.05))


def vase(s: Numbers) -> Mesh:
    """A free curve from foot to lip: amphora, bulb, trumpet or cylinder."""
    height = lerp(1.2, 2.0, s[0])
    radii = [lerp(0.2, 0.42, s[1]), lerp(0.25, 0.7, s[2]), lerp(0.25, 0.62, s[3]), lerp(0.12, 0.3, s[4])]
    lip = max(radii[3] + lerp(-0.02, 0.2, s[5]), 0.12)
    line = smooth(
        [
            [radii[0], 0.02],
            [radii[1], height * lerp(0.25, 0.4, s[6])],
            [radii[2], height * lerp(0.5, 0.62, s[6])],
            [radii[3], height * 0.84],
            [lip, height],
        ],
        30,
    )
    outer = np.concatenate([[[0, 0], [radii[0] - 0.03, 0]], line]).astype(np.float32)
    parts = _shell(outer, 0.03, height * 0.3)
    if s[7] > 0.72:
        c, d = arc(-80, 85)
        reach, mid = lerp(0.2, 0.32, s[11]), height * 0.72
        inner = float(np.interp(mid, line[:, 1], line[:, 0]))
        path = np.stack([inner - 0.05 + reach * c, 0 * c, mid + height * 0.16 * d], axis=1)
        for sign in (1.0, -1.0):
            parts.append(tube(path * [sign, 1, 1], 0.04))
    return join(parts)


def plate(s: Numbers) -> Mesh:
    """A flat plate or a deep one, with a narrow or a wide rim."""
    r, well, deep, rim = 1.0, lerp(0.5, 0.78, s[0]), lerp(0.05, 0.14, s[1]), lerp(0.02, 0.09, s[2])
    top = smooth([[0.0, 0.03], [well * 0.6, 0.03], [well, 0.04], [well + 0.08, deep], [r, deep + rim]], 24)
    under = np.array([[0, 0], [well, 0], [r, deep + rim - 0.035]], np.float32)
    upper = lathe(top, BODY, 48)
    return join([upper, lathe(bevel(under.tolist(), 0.04), PLAIN, 48)])


def teapot(s: Numbers) -> Mesh:
    """A bellied pot with spout, handle, lid and knob."""
    height, r = lerp(0.7, 1.15, s[0]), lerp(0.5, 0.66, s[1])
    foot, mouth = r * lerp(0.5, 0.85, s[2]), r * lerp(0.4, 0.62, s[3])
    high = lerp(0.35, 0.55, s[4])
    line = smooth([[foot, 0.02], [r, height * high], [r * 0.86, height * 0.75], [mouth, height]], 24)
    outer = np.concatenate([[[0, 0], [foot - 0.03, 0]], line])
    lid = smooth([[mouth * 1.03, height], [mouth * 0.7, height + 0.1], [0.02, height + 0.15]], 10)
    knob = ball(lerp(0.06, 0.1, s[5]), TRIM, 16).move(z=height + 0.12)
    spout = smooth(
        [
            [r * 0.75, 0, height * 0.3],
            [r * 1.25, 0, height * 0.45],
            [r * 1.45, 0, height * 0.8],
            [r * lerp(1.55, 1.8, s[6]), 0, height * lerp(0.95, 1.1, s[7])],
        ],
        12,
    )
    c, d = arc(100, 260)
    path = np.stack([-r * 0.82 + 0.42 * c, 0 * c, height * 0.55 + height * 0.36 * d], axis=1)
    return join(
        [
            lathe(outer),
            lathe(np.concatenate([[[mouth * 1.03, height - 0.04]], lid]), PLAIN),
            knob,
            tube(spout, np.linspace(0.15, 0.07, 12).tolist()),
            tube(path, 0.05, TRIM if s[11] > 0.6 else PLAIN),
        ]
    )


def bucket(s: Numbers) -> Mesh:
    """A tapered pail with a lip and a bail handle, up or folded down."""
    height, foot, lip = lerp(0.8, 1.2, s[0]), lerp(0.34, 0.48, s[1]), lerp(0.5, 0.62, s[2])
    z = np.linspace(0.02, height, 10)
    side = np.stack([foot + (lip - foot) * z / height, z], axis=1)
    outer = np.concatenate([[[0, 0], [foot - 0.02, 0]], side, [[lip + 0.035, height + 0.005]]]).astype(np.float32)
    c, d = arc(0, 180, 24)
    lean = np.radians(lerp(-20, 75, s[3]))
    up = (lip + 0.02) * lerp(0.85, 1.05, s[4]) * d
    path = np.stack([(lip + 0.02) * c, up * np.sin(lean), height - 0.08 + up * np.cos(lean)], axis=1)
    parts = [*_shell(outer, 0.03, 0.06), tube(path, lerp(0.018, 0.03, s[5]), TRIM)]
    if s[6] > 0.5:
        at = lerp(0.35, 0.7, s[7])
        r = foot + (lip - foot) * at
        hoop = [[r, height * at - 0.04], [r + 0.025, height * at], [r + 0.01, height * at + 0.04]]
        parts.append(lathe(hoop, PLAIN))
    return join(parts)


def ball_product(s: Numbers) -> Mesh:
    """A ball: round, perhaps with seams, or a rugby ball."""
    body = ball(0.5, BODY, 44)
    c, d = arc(0, 360, 40)
    seams = [] if s[0] < 0.5 else [tube(np.stack([0.5 * c, 0 * c, 0.5 + 0.5 * d], axis=1), 0.008, TRIM, 6)]
    if s[0] > 0.7:
        seams.append(tube(np.stack([0 * c, 0.5 * c, 0.5 + 0.5 * d], axis=1), 0.008, TRIM, 6))
    whole = join([body, *seams])
    if s[1] > 0.8:
        return whole.stretch(x=lerp(1.35, 1.6, s[2]))
    tilt, turn = np.radians(lerp(-35, 35, s[2])), np.radians(lerp(-35, 35, s[3]))
    first = [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    second = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    return whole.move(z=-0.5).turn(first).turn(second).move(z=0.5)


def lamp(s: Numbers) -> Mesh:
    """A table lamp: foot, stem or turned body, and a shade in the product's colour."""
    height, top, low = lerp(1.4, 2.1, s[0]), lerp(0.16, 0.42, s[1]), lerp(0.48, 0.7, s[2])
    tall = lerp(0.45, 0.7, s[3])
    base = height - tall * 0.85
    shade = np.array([[low, height - tall], [max(top, 0.12), height]], np.float32)
    if s[4] > 0.6:  # a domed shade
        c, d = arc(0, 78)
        shade = np.stack([low * c, height - tall + tall * d], axis=1)
    steps = np.linspace(0, 1, 8) if len(shade) == 2 else np.linspace(0, 1, len(shade))
    line = shade if len(shade) > 2 else shade[0] + (shade[1] - shade[0]) * steps[:, None]
    inner = line - np.array([0.015, 0])
    foot = lerp(0.26, 0.42, s[5])
    if s[6] < 0.45:
        stem = bevel([[0, 0], [foot, 0], [foot, 0.06], [0.035, 0.085], [0.035, base + 0.1], [0, base + 0.1]], 0.02)
    else:
        stem = smooth(
            [
                [foot * 0.6, 0],
                [foot, base * lerp(0.2, 0.5, s[7])],
                [foot * 0.45, base * 0.75],
                [0.05, base],
                [0.04, base + 0.15],
            ],
            24,
        )
    return join([lathe(line), lathe(inner, INNER), lathe(stem, TRIM), ball(0.1, TRIM, 14).move(z=base + 0.1)])


def hat(s: Numbers) -> Mesh:
    """A brimmed hat, a cap with a visor, or a knitted hat with a bobble."""
    crown = lerp(0.42, 0.7, s[0])
    if s[1] < 0.5:
        brim, pinch = lerp(0.8, 1.1, s[2]), lerp(0.34, 0.46, s[3])
        curl = lerp(-0.08, 0.14, s[4])
        crown_line = smooth(
            [[0.5, 0.1], [0.48, crown * 0.5 + 0.05], [pinch, crown], [pinch * 0.6, crown + 0.05], [0, crown - 0.02]], 20
        )
        flat = smooth([[brim, 0.08 + curl], [brim * 0.8, 0.05], [0.56, 0.05], [0.5, 0.1]], 12)
        band = np.array([[0.506, 0.1], [0.503, 0.22]], np.float32)
        return join([lathe(crown_line), lathe(flat, PLAIN), lathe(band, TRIM)]).stretch(x=lerp(0.8, 0.9, s[5]))
    c, d = arc(0, 90)
    dome = lathe(np.stack([0.52 * c, 0.05 + crown * 1.1 * d], axis=1))
    if s[1] < 0.78:
        side, out = np.linspace(-1.15, 1.15, 20), np.linspace(0, 1, 6)
        reach = 0.5 + lerp(0.36, 0.55, s[2]) * out[:, None] * np.sqrt(np.maximum(np.cos(side * 1.3), 0))
        grid = np.empty((6, 20, 3), np.float32)
        grid[..., 0] = reach * np.sin(side) * 0.98
        grid[..., 1] = -reach * np.cos(side)
        grid[..., 2] = 0.08 - 0.12 * out[:, None] * (1 + 0.9 * np.abs(np.sin(side)))
        visor = sheet(grid, grid[..., :2], TRIM if s[3] > 0.5 else PLAIN)
        return join([dome, visor, ball(0.04, PLAIN, 10).move(z=crown * 1.1 + 0.02)]).move(z=0.18)
    cuff = smooth([[0.53, 0], [0.57, 0.1], [0.55, lerp(0.18, 0.3, s[4])], [0.5, lerp(0.2, 0.32, s[4])]], 10)
    bobble = [ball(lerp(0.1, 0.17, s[5]), TRIM, 16).move(z=crown * 1.1)] if s[6] > 0.4 else []
    return join([dome, lathe(cuff, PLAIN), *bobble])
