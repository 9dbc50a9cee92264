"""Light on surfaces: a key light with soft shadows, a sky, and reflections in shiny materials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.studio._drawing.raster import rasterise
from training.studio._shapes.mesh import Floats, unit

_MAP = 144  # pixels a side of the map that the light sees
_SPAN = 2.4  # half of the side of that map, in scene units


@dataclass(frozen=True)
class Light:
    """to_key: unit vector towards the key light; key, sky, bounce: linear RGB [3] of key, upper and lower ambient."""

    to_key: Floats
    key: Floats
    sky: Floats
    bounce: Floats


@dataclass(frozen=True)
class Shadows:
    """What the light sees: `depth` [map, map] of the nearest surface (-inf: none) and its blurred `cover` [0, 1];
    `contact` [map, map] in [0, 1]: how close something is to the floor."""

    right: Floats
    up: Floats
    to_key: Floats
    depth: Floats
    cover: Floats
    contact: Floats

    def on_floor(self, points: Floats) -> Floats:
        """The share of the key light, float32 [k] from 0 to 1, that points, float32 [k, 3], below or behind all objects
        do not get."""
        return _read(self.cover, points @ self.right, points @ self.up)

    def near_floor(self, points: Floats) -> Floats:
        """The contact shadow, float32 [k] from 0 to 1, at floor points, float32 [k, 3]."""
        return _read(self.contact, points[:, 0], points[:, 1])

    def on_surface(self, points: Floats, normals: Floats) -> Floats:
        """The share of the key light, float32 [k] from 0 to 1, that surface points, float32 [k, 3], with unit normals,
        float32 [k, 3], do not get because of another surface."""
        points = points + normals * np.float32(0.04)  # a step away from the surface avoids stripes of self-shadow
        scale = _MAP / (2 * _SPAN)
        x = (points @ self.right) * scale + _MAP / 2
        y = (points @ self.up) * scale + _MAP / 2
        cosine = np.maximum(normals @ self.to_key, 0.2)
        # A map pixel is 0.033 wide: a slope changes that much times its tangent within one.
        here = points @ self.to_key + 0.015 + 0.033 * np.sqrt(1 - np.minimum(cosine, 1) ** 2) / cosine
        hits = np.zeros(len(points), np.float32)
        for dx, dy in ((-0.6, -0.2), (0.2, -0.6), (0.6, 0.2), (-0.2, 0.6)):
            column = np.clip((x + dx).astype(np.int32), 0, _MAP - 1)
            row = np.clip((y + dy).astype(np.int32), 0, _MAP - 1)
            hits += self.depth[row, column] > here
        return hits / 4


def _read(picture: Floats, x: Floats, y: Floats) -> Floats:
    """Bilinear lookup in one of the light's maps at scene coordinates."""
    scale = _MAP / (2 * _SPAN)
    x = np.clip(x * scale + (_MAP / 2 - 0.5), 0, _MAP - 1.001)
    y = np.clip(y * scale + (_MAP / 2 - 0.5), 0, _MAP - 1.001)
    i, j = y.astype(np.int32), x.astype(np.int32)
    fy, fx = y - i, x - j
    top = picture[i, j] * (1 - fx) + picture[i, j + 1] * fx
    low = picture[i + 1, j] * (1 - fx) + picture[i + 1, j + 1] * fx
    out: Floats = (top * (1 - fy) + low * fy).astype(np.float32)
    return out


def _blur(picture: Floats, radius: float) -> Floats:
    image = Image.fromarray(np.clip(picture * 255, 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def cast(points: Floats, faces: NDArray[np.int32], light: Light, softness: float) -> Shadows:
    """The shadows of a scene's triangles: points, float32 [n, 3], and faces, int32 [m, 3], of three point numbers each.
    `softness` is the blur of cast shadows in map pixels (0.033 units)."""
    right = unit(np.cross(np.array([0, 0, 1], np.float32), light.to_key).astype(np.float32))
    up = np.cross(light.to_key, right).astype(np.float32)
    scale = _MAP / (2 * _SPAN)

    def seen(x: Floats, y: Floats, near: Floats, which: NDArray[np.int32]) -> Floats:
        xy = np.stack([x, y], axis=1) * scale + (_MAP / 2 - 0.5)
        shot = rasterise(xy, near + 8, which, _MAP, _MAP)  # 8: nearness has to be positive
        out = np.full(_MAP * _MAP, -np.inf, np.float32)
        out[shot.pixel] = shot.nearness - 8
        return out.reshape(_MAP, _MAP)

    depth = seen(points @ right, points @ up, points @ light.to_key, faces)
    low = faces[points[faces, 2].max(axis=1) < 0.16]
    under = seen(points[:, 0], points[:, 1], -points[:, 2], low)
    contact = np.where(np.isfinite(under), np.exp(np.minimum(under, 0) * 14), 0).astype(np.float32)
    cover = np.isfinite(depth).astype(np.float32)
    return Shadows(right, up, light.to_key, depth, _blur(cover, softness), _blur(contact, 2.0))


def shade(
    *, colour: Floats, normals: Floats, to_eye: Floats, material: Floats, shadow: Floats, height: Floats, light: Light
) -> Floats:
    """The light from surface points towards the eye, linear RGB [k, 3].

    All arrays are float32: colour [k, 3], unit vectors normals and to_eye [k, 3], material [k, 5] (diffuse, highlight,
    exponent, mirror, see-through), shadow [k] from 0 to 1, and height [k] above the floor in scene units. Blinn-Phong
    (Blinn 1977) with Schlick's Fresnel term (Schlick 1994), with reflections of an invented bright window and a dim
    floor.
    """
    lit = np.maximum(normals @ light.to_key, 0) * (1 - shadow)
    facing = np.clip(np.einsum("ij,ij->i", normals, to_eye), 0, 1)
    upward = 0.5 + 0.5 * normals[:, 2]
    near_floor = np.clip(0.55 + height * 1.6, 0, 1)
    ambient = light.bounce + (light.sky - light.bounce) * upward[:, None]
    diffuse = colour * (ambient * near_floor[:, None] + light.key * lit[:, None]) * material[:, :1]
    half = unit(to_eye + light.to_key)
    gloss = np.maximum(np.einsum("ij,ij->i", normals, half), 1e-4)
    spot = material[:, 1] * np.exp(np.log(gloss) * material[:, 2]) * (1 - shadow)
    mirrored = 2 * facing[:, None] * normals - to_eye
    fresnel = 0.07 + 0.93 * (1 - facing) ** 5
    # The surrounding: a dim floor, walls, and on the key's side a window that is six times as bright as a wall.
    window = np.clip((mirrored @ light.to_key - 0.86) * 9, 0, 1)
    horizon = np.clip(mirrored[:, 2] * 3.2 + 0.5, 0, 1)
    metal = (material[:, 3] > 0.8).astype(np.float32)
    around = np.where(metal > 0, 0.12 + 0.62 * horizon + 0.7 * window, 0.3 + 0.3 * horizon + 3.5 * window)
    share = material[:, 3] * np.maximum(fresnel, metal)
    tint = colour + (1 - colour) * (1 - metal[:, None])
    out = diffuse + (share * around)[:, None] * tint * (light.sky + light.key * 0.3)
    total: Floats = (out + spot[:, None] * light.key * 0.6 * (tint * 0.5 + 0.5)).astype(np.float32)
    return total
