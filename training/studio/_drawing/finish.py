"""Colours, prints and materials: the surface of a product before light falls on it.

Colours are linear RGB in [0, 1] (the square of the displayed value: gamma 2 is near sRGB and a square root is fast).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.studio._product import Product
from training.studio._shapes.mesh import Floats

# Displayed RGB of the darkest and the lightest shade of each colour name; a product's own number chooses between them.
_SHADES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "red": ((165, 18, 24), (222, 44, 40)),
    "orange": ((222, 98, 12), (246, 138, 40)),
    "yellow": ((226, 184, 20), (250, 218, 70)),
    "green": ((28, 104, 40), (84, 168, 62)),
    "teal": ((10, 112, 112), (48, 172, 166)),
    "blue": ((24, 52, 146), (58, 112, 212)),
    "purple": ((84, 34, 128), (142, 84, 188)),
    "pink": ((226, 96, 142), (248, 158, 188)),
    "brown": ((84, 48, 26), (134, 84, 48)),
    "black": ((20, 20, 22), (40, 40, 42)),
    "grey": ((108, 110, 112), (152, 152, 154)),
    "white": ((232, 230, 226), (250, 250, 248)),
}
# Prints on neutral products are mid grey, charcoal or beige: black with white checks is also white with black ones.
_NEUTRAL_ACCENT = {"black": (158, 158, 160), "grey": (58, 58, 62), "white": (204, 182, 146)}
# Trim: (displayed RGB, material): oak, walnut, steel, black metal, white plastic, brass.
_TRIMS = (
    ((190, 148, 100), "wood"),
    ((104, 68, 44), "wood"),
    ((176, 178, 182), "metal"),
    ((34, 34, 36), "metal"),
    ((236, 234, 230), "plastic"),
    ((186, 150, 84), "metal"),
)
# diffuse, highlight strength, highlight exponent, mirror strength, see-through
_MATERIAL = {
    "ceramic": (0.95, 0.5, 90.0, 0.34, 0.0),
    "glass": (0.62, 0.9, 160.0, 0.55, 0.5),
    "metal": (0.42, 0.5, 50.0, 0.85, 0.0),
    "wood": (1.0, 0.10, 18.0, 0.04, 0.0),
    "plastic": (1.0, 0.30, 30.0, 0.12, 0.0),
    "fabric": (1.0, 0.0, 4.0, 0.0, 0.0),
    "leather": (0.95, 0.22, 14.0, 0.08, 0.0),
    "cardboard": (1.0, 0.03, 6.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class Finish:
    """How one object is coloured. `albedo` computes its body; the other slots have one colour each.

    base, accent, trim: linear RGB; frequency: prints for each unit of uv, a multiple of 4 so that they meet all around.
    """

    base: Floats
    accent: Floats
    trim: Floats
    material: str
    trim_material: str
    pattern: str
    frequency: float
    angle: int

    def slot_colours(self) -> Floats:
        """Linear RGB, float32 [4, 3], of the slots body, plain, trim and inner, without prints."""
        inner = self.base * 0.9 if self.material != "fabric" else self.base
        return np.stack([self.base, self.base, self.trim, inner]).astype(np.float32)

    def slot_materials(self) -> Floats:
        """The material numbers of the slots, float32 [4, 5]."""
        body, trim = _MATERIAL[self.material], _MATERIAL[self.trim_material]
        return np.array([body, body, trim, body], np.float32)


def linear(rgb: ArrayLike) -> Floats:
    """Convert displayed RGB [..., 3] from 0 to 255, any dtype, to linear RGB from 0 to 1, float32 [..., 3]."""
    return ((np.asarray(rgb, np.float32) / 255) ** 2).astype(np.float32)


def finish_of(product: Product) -> Finish:
    """The product's finish. The accent of its print is neutral or has the same hue, so that the name of the colour
    stays true."""
    s = product.shape
    dark, light = (np.asarray(end, np.float32) for end in _SHADES[product.colour])
    shown = dark + (light - dark) * np.float32(s[8])
    bright = float(shown @ np.array([0.3, 0.59, 0.11], np.float32))
    if product.colour in _NEUTRAL_ACCENT:
        accent = np.array(_NEUTRAL_ACCENT[product.colour], np.float32)
    elif bright > 150:
        accent = np.array([250, 249, 246], np.float32) if s[11] > 0.5 else (shown * 0.5).astype(np.float32)
    else:
        accent = np.array([244, 242, 236], np.float32) if s[11] > 0.3 else (shown * 0.35 + 160).astype(np.float32)
    trim, trim_material = _TRIMS[int(s[10] * len(_TRIMS))]
    steps = (4, 8, 8, 12) if product.pattern != "dotted" else (4, 4, 8, 8)
    return Finish(
        linear(shown),
        linear(accent),
        linear(trim),
        product.material,
        trim_material,
        product.pattern,
        float(steps[int(s[9] * 4)]),
        int(s[11] * 997) % 3,
    )


@lru_cache(maxsize=2)
def grain(roughness: float = 1.4) -> Floats:
    """A tile of smooth noise, float32 [256, 256] in [-1, 1], the same in every process; amplitude falls with
    frequency to the power -`roughness`."""
    rng = np.random.default_rng(0x6A1)
    spectrum = np.fft.rfft2(rng.standard_normal((256, 256)))
    fy, fx = np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :]
    reach = np.hypot(fx, fy)
    reach[0, 0] = np.inf
    tile = np.fft.irfft2(spectrum * reach**-roughness * (reach > 3 / 256), s=(256, 256))
    out: Floats = np.clip(tile / (2.2 * tile.std()), -1, 1).astype(np.float32)
    return out


def noise(u: Floats, v: Floats) -> Floats:
    """The noise tile, float32 [k], read at (u, v), each any float type [k]. One unit of u or v is one tile."""
    out: Floats = grain()[(v * 256).astype(np.int32) & 255, (u * 256).astype(np.int32) & 255]
    return out


def _veins(u: Floats, v: Floats) -> NDArray[np.bool_]:
    """The lines of marble: where a smooth noise, read between its pixels, changes its sign."""
    tile = grain(2.2)
    x, y = u * 256, v * 256
    i, j = np.floor(y).astype(np.int32), np.floor(x).astype(np.int32)
    fy, fx = y - i, x - j
    i, j, k, m = i & 255, j & 255, (i + 1) & 255, (j + 1) & 255
    top = tile[i, j] * (1 - fx) + tile[i, m] * fx
    low = tile[k, j] * (1 - fx) + tile[k, m] * fx
    mask: NDArray[np.bool_] = np.abs(top * (1 - fy) + low * fy) < 0.07
    return mask


def print_mask(finish: Finish, uv: Floats) -> NDArray[np.bool_]:
    """Where the accent is visible: bool [k] for uv [k, 2]. It covers a third of the surface at most; checks half."""
    mask: NDArray[np.bool_]
    u, v = uv[:, 0] * np.float32(finish.frequency), uv[:, 1] * np.float32(finish.frequency)
    fu, fv = u - np.floor(u), v - np.floor(v)
    if finish.pattern == "striped":
        along = (fu, fv, (u + v) - np.floor(u + v))[finish.angle]
        mask = along < 0.36
        return mask
    if finish.pattern == "dotted":
        odd = (np.floor(v).astype(np.int32) & 1).astype(np.float32) * 0.5
        fu = u + odd - np.floor(u + odd)
        mask = (fu - 0.5) ** 2 + (fv - 0.5) ** 2 < 0.082
        return mask
    if finish.pattern == "checked":
        half_u, half_v = u * 0.5 - np.floor(u * 0.5) < 0.5, v * 0.5 - np.floor(v * 0.5) < 0.5
        mask = half_u ^ half_v
        return mask
    if finish.pattern == "zigzag":
        wave = v + np.abs(fu - 0.5) * 1.2
        mask = wave - np.floor(wave) < 0.36
        return mask
    return _veins(uv[:, 0] * np.float32(0.3), uv[:, 1] * np.float32(0.3) + np.float32(0.3))


def texture(material: str, uv: Floats) -> Floats | None:
    """A factor on the colour, float32 [k], that shows the material's grain at `uv`, float32 [k, 2]. None for an even
    material."""
    u, v = uv[:, 0], uv[:, 1]
    if material == "wood":
        rings = noise(u * 0.11, v * 0.9) * 0.55 + noise(u * 0.6, v * 2.9 + 0.5) * 0.45
        return (1 + 0.34 * rings).astype(np.float32)
    if material == "fabric":
        return (1 + 0.10 * noise(u * 4, v * 4) + 0.07 * np.sin(u * 190) * np.sin(v * 190)).astype(np.float32)
    if material == "leather":
        return (1 + 0.16 * noise(u * 1.6, v * 1.6)).astype(np.float32)
    if material == "cardboard":
        return (1 + 0.05 * noise(u * 0.5, v * 3)).astype(np.float32)
    return None
