"""Where a natural photo is taken: a floor or table top and a wall, each with its own covering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.studio._drawing.finish import linear, noise
from training.studio._shapes.mesh import Floats

_COVERINGS = ("wood", "cloth", "tiles", "concrete", "plain", "stripes", "bricks", "checks")
_TONES = (
    (188, 150, 108), (120, 84, 56), (214, 208, 198), (160, 162, 166), (96, 104, 116), (198, 184, 160),
    (150, 170, 178), (176, 190, 168), (206, 178, 170), (84, 78, 74), (232, 228, 220), (128, 140, 120),
)  # fmt: skip


@dataclass(frozen=True)
class Covering:
    """One surface of the room: kind, two linear RGB tones, scale (units of length of a repeat), angle of the grain."""

    kind: str
    tone: Floats
    other: Floats
    scale: float
    angle: float


def draw_covering(rng: np.random.Generator, wall: bool) -> Covering:
    """A random covering. Most walls are plain."""
    kinds = ("plain", "plain", "plain", "stripes", "bricks", "tiles", "concrete") if wall else _COVERINGS
    kind = kinds[int(rng.integers(len(kinds)))]
    tone = np.asarray(_TONES[int(rng.integers(len(_TONES)))], np.float32) * rng.uniform(0.8, 1.06)
    if kind == "wood":
        tone = np.asarray(_TONES[int(rng.integers(2))], np.float32) * rng.uniform(0.7, 1.2)
    other = np.clip(tone * rng.uniform(0.55, 0.9) if rng.random() < 0.6 else tone * 0.6 + 100, 0, 250)
    angle = rng.uniform(-0.6, 0.6) if not wall else 0.0
    return Covering(kind, linear(np.clip(tone, 0, 252)), linear(other), float(rng.uniform(0.6, 1.5)), float(angle))


def paint(covering: Covering, x: Floats, y: Floats) -> Floats:
    """Linear RGB, float32 [k, 3], of a covering at the coordinates x and y of its plane, each float32 [k] in scene
    units."""
    c, s = np.float32(np.cos(covering.angle)), np.float32(np.sin(covering.angle))
    u, v = (x * c - y * s) / np.float32(covering.scale), (x * s + y * c) / np.float32(covering.scale)
    kind = covering.kind
    share = np.zeros(len(u), np.float32)
    gain = 1 + 0.10 * noise(u * 0.35 + 0.2, v * 0.35)
    if kind == "wood":
        plank = np.floor(v * 3)
        jitter = plank * 0.37 - np.floor(plank * 0.37)
        gain = 1 + 0.30 * noise(u * 0.12 + jitter, v * 1.4) + 0.22 * (jitter - 0.5)
        share = (_saw(v * 3) < 0.03).astype(np.float32)
    elif kind == "cloth":
        gain = 1 + 0.10 * noise(u * 3, v * 3) + 0.16 * noise(u * 0.25, v * 0.25)
        share = 0.25 + 0.25 * np.sign(_saw(u * 3) - 0.7) * (np.abs(_saw(u * 3) - 0.5) > 0.2)
    elif kind == "tiles":
        gain = gain + 0.10 * noise(np.floor(u * 2) * 0.311, np.floor(v * 2) * 0.173)
        share = ((_saw(u * 2) < 0.05) | (_saw(v * 2) < 0.05)).astype(np.float32)
    elif kind == "concrete":
        gain = 1 + 0.28 * noise(u * 0.5, v * 0.5) + 0.14 * noise(u * 1.7, v * 1.7)
    elif kind == "stripes":
        share = (_saw(u * 2.5) < 0.4).astype(np.float32) * 0.6
    elif kind == "bricks":
        row = np.floor(v * 6)
        along = u * 2.5 + 0.5 * (row.astype(np.int32) & 1)
        gain = 1 + 0.30 * noise(np.floor(along) * 0.231, row * 0.377) + 0.12 * noise(u * 2, v * 2)
        share = ((_saw(along) < 0.05) | (_saw(v * 6) < 0.12)).astype(np.float32) * 0.7
    elif kind == "checks":
        share = 0.5 * (_saw(u * 2) < 0.5) + 0.5 * (_saw(v * 2) < 0.5)
    mixed = covering.tone + (covering.other - covering.tone) * share[:, None]
    return np.clip(mixed * gain[:, None], 0, 1).astype(np.float32)


def _saw(x: Floats) -> Floats:
    return (x - np.floor(x)).astype(np.float32)
