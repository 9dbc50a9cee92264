"""From a product to a photo: scene, light, lens."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from schemas.errors import Invalid
from training.studio._drawing.finish import print_mask, texture
from training.studio._drawing.light import Shadows, cast, shade
from training.studio._drawing.raster import rasterise
from training.studio._drawing.room import Covering, paint
from training.studio._drawing.scene import Placed, Scene, build_scene
from training.studio._in_view import InView, products_in_view
from training.studio._product import Product
from training.studio._shapes.mesh import TRIM, Floats, Mesh, unit

Domain = Literal["iconic", "natural"]
_STREAM = 0x9A07  # separates a photo's random numbers from those of products
_LONGEST = 448  # pixels; a scene is drawn at twice the photo's size, but its longer side at this at most
_BACKDROP = 0.97  # linear grey of the white background of iconic photos


@dataclass(frozen=True)
class Photo:
    """A photo and what is known of it.

    Attributes:
        pixels: `uint8 [h, w, 3]`, RGB.
        mask: `bool [h, w]`, where the subject itself is visible.
        box: (x0, y0, x1, y1) in pixels, the bounding box of the mask, x1 and y1 exclusive.
        viewpoint: the subject's turn about the vertical and the camera's elevation, both in degrees, and the camera's
            distance, where the subject's diagonal is 1.7.
        others: the other products in view. The things around a subject that are no products are not among them.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: tuple[float, float, float, float]
    product: Product
    viewpoint: tuple[float, float, float]
    domain: Domain
    others: tuple[InView, ...] = ()


def render(
    product: Product, view: int, domain: Domain = "natural", size: tuple[int, int] = (224, 224), seed: int = 0
) -> Photo:
    """A photo of `product`. Every view is another photo, and the same arguments give the same bytes.

    `size` is (width, height) in pixels. The scene is drawn at twice that size, but with at most 448 pixels on its
    longer side, and then resized: an 800 x 600 photo has the detail of a 448 x 336 one.

    Raises:
        Invalid: an unknown domain, or a side below 16 pixels.
    """
    if domain not in ("iconic", "natural"):
        raise Invalid("studio", "bad_domain", f"domain is {domain!r}: use 'iconic' or 'natural'")
    if min(size) < 16:
        raise Invalid("studio", "bad_size", f"size is {size}: give a width and a height of 16 pixels or more")
    iconic = domain == "iconic"
    rng = np.random.default_rng([_STREAM, seed % 2**64, product.identity % 2**64, view % 2**64, int(iconic)])
    factor = min(2.0, _LONGEST / max(size))
    width, height = (max(round(side * factor / 2) * 2, 16) for side in size)
    scene = build_scene(rng, product, width, height, iconic)
    picture, owners = draw(rng, scene, width, height)
    mask = owners == 0
    shown = Image.fromarray((np.sqrt(np.clip(picture, 0, 1)) * 255).astype(np.uint8))
    small = shown.resize(size, Image.Resampling.BOX if factor >= 1 else Image.Resampling.BICUBIC)
    cover = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    final = np.asarray(cover) >= 128
    pixels = np.asarray(small) if iconic else lens(rng, small)
    others = tuple(products_in_view(scene, np.where(owners == 0, np.int16(-1), owners), size))
    return Photo(pixels, final, _box(final), product, scene.viewpoint, domain, others)


def _box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return (0.0, 0.0, 0.0, 0.0)
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def draw(rng: np.random.Generator, scene: Scene, width: int, height: int) -> tuple[Floats, NDArray[np.int16]]:
    """Linear RGB float32 [h, w, 3] of a scene, and which of its objects each pixel shows, int16 [h, w]; -1 is none."""
    meshes = [placed.mesh for placed in scene.objects]
    points = np.concatenate([m.points for m in meshes])
    starts = np.cumsum([0] + [len(m.points) for m in meshes[:-1]])
    faces = np.concatenate([m.faces + np.int32(s) for m, s in zip(meshes, starts, strict=True)])
    shadows = cast(points, faces, scene.light, scene.softness)
    flat = _background(rng, scene, shadows, width, height)
    xy, depth = scene.camera.project(points)
    shot = rasterise(xy, 1 / depth, faces, width, height)
    corners = faces[shot.face]
    weights = shot.weights / depth[corners]  # perspective-correct: linear in 1 / depth
    weights /= weights.sum(axis=1, keepdims=True)
    (i, j, k), (u, v, w) = corners.T, weights.T[..., None]
    values = _per_point(meshes)
    at = values[i] * u + values[j] * v + values[k] * w
    owner = np.repeat(np.arange(len(meshes)), [len(m.faces) for m in meshes])[shot.face]
    slot = np.concatenate([m.slots for m in meshes])[shot.face]
    to_eye = unit(scene.camera.eye - at[:, :3])
    a, b, c = (points[corners[:, k]] for k in range(3))
    normals = unit(at[:, 3:6])
    normals[np.einsum("ij,ij->i", np.cross(b - a, c - a), to_eye) < 0] *= -1  # seen from inside
    colour, material = _surface(scene.objects, owner, slot, at[:, 6:8])
    light = shade(
        colour=colour,
        normals=normals,
        to_eye=to_eye,
        material=material,
        shadow=shadows.on_surface(at[:, :3], normals),
        height=at[:, 2],
        light=scene.light,
    )
    clear = material[:, 4:5] * (0.35 + 0.65 * np.einsum("ij,ij->i", normals, to_eye)[:, None])
    flat[shot.pixel] = light * (1 - clear) + flat[shot.pixel] * (0.25 + 0.75 * colour) * clear
    owners = np.full(width * height, -1, np.int16)
    owners[shot.pixel] = owner
    return flat.reshape(height, width, 3), owners.reshape(height, width)


def _per_point(meshes: list[Mesh]) -> Floats:
    """Position, normal and uv of every point of all meshes: [n, 8]."""
    return np.concatenate([np.concatenate([m.points, m.normals, m.uv], axis=1) for m in meshes])


def _surface(
    objects: tuple[Placed, ...], owner: NDArray[np.int64], slot: NDArray[np.uint8], uv: Floats
) -> tuple[Floats, Floats]:
    """Linear RGB [k, 3] and material numbers [k, 5] of visible points."""
    index = owner * 4 + slot
    colour = np.concatenate([placed.finish.slot_colours() for placed in objects])[index]
    material = np.concatenate([placed.finish.slot_materials() for placed in objects])[index]
    for number, placed in enumerate(objects):
        finish = placed.finish
        if finish.pattern != "plain":
            at = np.flatnonzero((owner == number) & (slot == 0))
            accent = at[print_mask(finish, uv[at])]
            colour[accent] = finish.accent
        for kind, which in ((finish.material, slot != TRIM), (finish.trim_material, slot == TRIM)):
            if kind in ("wood", "fabric", "leather", "cardboard"):
                at = np.flatnonzero((owner == number) & which)
                factor = texture(kind, uv[at])
                if factor is not None:
                    colour[at] *= factor[:, None]
    return colour, material


def _background(rng: np.random.Generator, scene: Scene, shadows: Shadows, width: int, height: int) -> Floats:
    """Linear RGB [h * w, 3] of the background, drawn at half size and a little out of focus."""
    rays = scene.camera.rays(width, height, 2).reshape(-1, 3)
    if scene.floor is None or scene.wall is None:
        picture = _sweep(scene, shadows, rays)
    else:
        picture = _walls(scene, shadows, rays, scene.floor, scene.wall)
    half = np.clip(np.sqrt(np.clip(picture, 0, 1)) * 255, 0, 255).astype(np.uint8).reshape(height // 2, width // 2, 3)
    image = Image.fromarray(half)
    if scene.floor is not None:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.1, 2.0)) * width / 448))
    shown = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255
    return np.square(shown).reshape(-1, 3)


def _to_floor(eye: Floats, rays: Floats) -> Floats:
    """The distance to the floor along each ray [k, 3], or 1e6 if the ray does not meet it."""
    down = np.minimum(rays[:, 2], -1e-4)
    return np.where(rays[:, 2] < -1e-4, -eye[2] / down, 1e6).astype(np.float32)


def _sweep(scene: Scene, shadows: Shadows, rays: Floats) -> Floats:
    """The white background of a catalogue photo with the subject's soft shadow."""
    to_floor = _to_floor(scene.camera.eye, rays)
    spot = scene.camera.eye + rays * np.minimum(to_floor, 50)[:, None]
    dark = 0.34 * shadows.on_floor(spot) + 0.38 * shadows.near_floor(spot)
    grey = _BACKDROP * (1 - np.clip(dark, 0, 0.7) * (to_floor < 1e5))
    return np.repeat(grey[:, None], 3, axis=1)


def _walls(scene: Scene, shadows: Shadows, rays: Floats, floor: Covering, wall: Covering) -> Floats:
    """Floor and wall in the scene's light."""
    eye, light = scene.camera.eye, scene.light
    to_floor = _to_floor(eye, rays)
    normal = np.array([np.sin(scene.wall_yaw), np.cos(scene.wall_yaw), 0], np.float32)
    along = np.array([normal[1], -normal[0], 0], np.float32)
    slant = rays @ normal
    to_wall = np.where(slant > 1e-4, (scene.wall_y - eye @ normal) / np.maximum(slant, 1e-4), 1e6)
    on_wall = to_wall < to_floor
    on_floor = ~on_wall
    spot = (eye + rays * np.minimum(np.minimum(to_floor, to_wall), 40)[:, None]).astype(np.float32)
    picture = np.empty_like(spot)
    picture[on_floor] = paint(floor, spot[on_floor, 0], spot[on_floor, 1])
    picture[on_wall] = paint(wall, spot[on_wall] @ along, spot[on_wall, 2])
    lit = np.where(on_wall, np.maximum(-normal @ light.to_key, 0) * 0.8 + 0.1, light.to_key[2])
    lit = lit * (1 - shadows.on_floor(spot))
    corner = np.where(on_wall, 0.72 + 0.28 * np.clip(spot[:, 2] * 1.5, 0, 1), 1.0)
    soft = (corner * (1 - 0.75 * shadows.near_floor(spot) * on_floor))[:, None]
    picture *= (light.sky * 0.9) * soft + light.key * lit[:, None]
    return picture


def lens(rng: np.random.Generator, image: Image.Image) -> NDArray[np.uint8]:
    """A phone's camera: colour cast, exposure, vignette, blur, noise and JPEG."""
    if rng.random() < 0.6:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.1, 0.9)) * image.width / 224))
    picture = np.asarray(image, np.float32)
    width, height = image.size
    gains = rng.normal(1, 0.035, 3) * rng.uniform(0.85, 1.15)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    vignette = 1 - np.float32(rng.uniform(0, 0.14)) * (x[None, :] ** 2 + y[:, None] ** 2)
    picture = picture * vignette[..., None] * gains.astype(np.float32) + np.float32(rng.uniform(0, 6))
    picture += rng.standard_normal((height, width, 3), np.float32) * np.float32(rng.uniform(0, 7))
    noisy = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    packed = io.BytesIO()
    noisy.save(packed, "JPEG", quality=int(rng.integers(45, 93)))
    return np.asarray(Image.open(packed).convert("RGB"))
