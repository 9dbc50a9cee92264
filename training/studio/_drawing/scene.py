"""A scene: the subject, the things around it, camera, light and room, all drawn from one random generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.studio._drawing.finish import Finish, finish_of, linear
from training.studio._drawing.light import Light
from training.studio._drawing.room import Covering, draw_covering
from training.studio._product import Product, make_product
from training.studio._shapes.mesh import Floats, Mesh, ball, bevel, block, lathe, unit
from training.studio._shapes.product_mesh import mesh_of

_EXTRA_IDENTITY = 10**9  # distractors have identities outside every published range


@dataclass(frozen=True)
class Placed:
    """A mesh in the scene with its finish; `product` is None for a thing that is no product."""

    mesh: Mesh
    finish: Finish
    product: Product | None = None


@dataclass(frozen=True)
class Camera:
    """A pinhole: eye [3]; rows of `axes` [3, 3] are right, down and forward; focal and centre (cx, cy) in pixels."""

    eye: Floats
    axes: Floats
    focal: float
    centre: tuple[float, float]

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Pixels [n, 2] and depth [n] in scene units of points [n, 3], all float32."""
        seen = (points - self.eye) @ self.axes.T
        depth = np.maximum(seen[:, 2], 0.05)
        xy = seen[:, :2] * (self.focal / depth)[:, None] + np.asarray(self.centre, np.float32)
        return xy.astype(np.float32), depth.astype(np.float32)

    def rays(self, width: int, height: int, step: int) -> Floats:
        """Directions, float32 [h', w', 3], through the middle of every `step`th pixel of a photo of width x height."""
        x = (np.arange(0, width, step) + (step - 1) / 2 - self.centre[0]) / self.focal
        y = (np.arange(0, height, step) + (step - 1) / 2 - self.centre[1]) / self.focal
        rays: Floats = x[None, :, None] * self.axes[0] + y[:, None, None] * self.axes[1] + self.axes[2]
        return rays.astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """objects[0] is the subject; floor and wall are None before white; the wall is y = wall_y, turned by wall_yaw."""

    objects: tuple[Placed, ...]
    camera: Camera
    light: Light
    softness: float
    floor: Covering | None
    wall: Covering | None
    wall_y: float
    wall_yaw: float
    viewpoint: tuple[float, float, float]


def turned(mesh: Mesh, degrees: float) -> Mesh:
    """The mesh turned about z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return mesh.turn([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def clutter(rng: np.random.Generator) -> Placed:
    """A thing that is no product: a book, a box, a tin or a ball in a muted colour."""
    kind = int(rng.integers(4))
    if kind == 0:
        mesh = block((rng.uniform(0.3, 0.6), rng.uniform(0.25, 0.45), rng.uniform(0.05, 0.15)), round_by=0.01)
    elif kind == 1:
        mesh = block((rng.uniform(0.15, 0.4), rng.uniform(0.15, 0.4), rng.uniform(0.3, 0.9)), round_by=0.01)
    elif kind == 2:
        r, h = float(rng.uniform(0.1, 0.2)), float(rng.uniform(0.2, 0.7))
        mesh = lathe(bevel([[0, 0], [r, 0], [r, h], [0, h]], 0.015), segments=24)
    else:
        mesh = ball(float(rng.uniform(0.08, 0.16)), segments=20)
    colour = linear(rng.uniform(40, 225, 3) * 0.6 + rng.uniform(30, 90))
    material = ("cardboard", "plastic", "fabric", "metal")[int(rng.integers(4))]
    pattern = ("plain", "plain", "striped")[int(rng.integers(3))]
    accent = linear(rng.uniform(40, 230, 3))
    return Placed(mesh, Finish(colour, accent, colour, material, material, pattern, 8.0, 0))


def draw_light(rng: np.random.Generator, iconic: bool) -> Light:
    """The light of a photo, of a catalogue photo where `iconic`."""
    azimuth = np.radians(rng.uniform(-140, -30) if iconic else rng.uniform(-175, -5))
    elevation = np.radians(rng.uniform(48, 62) if iconic else rng.uniform(32, 72))
    to_key = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], np.float32
    )
    if iconic:
        return Light(to_key, *(np.full(3, v, np.float32) for v in (0.62, 0.52, 0.36)))
    warm = np.array([1.0, 1.0, 1.0], np.float32) + np.array([1, 0.1, -1], np.float32) * np.float32(
        rng.uniform(-0.08, 0.13)
    )
    strength = rng.uniform(0.45, 0.95)
    sky = rng.uniform(0.3, 0.5)
    cool = np.array([1.0, 1.0, 1.0], np.float32) - np.array([1, 0, -1], np.float32) * np.float32(
        rng.uniform(-0.05, 0.07)
    )
    return Light(
        unit(to_key),
        (warm * strength).astype(np.float32),
        (cool * sky).astype(np.float32),
        (warm * sky * 0.6).astype(np.float32),
    )


def framing_camera(
    rng: np.random.Generator, subject: Mesh, frame: tuple[int, int], iconic: bool, view: tuple[float, float, float]
) -> Camera:
    """A camera in the plane x = 0 that frames the subject; natural photos are tilted, off centre and cropped."""
    (width, height), (_, elevation, distance) = frame, view
    e = np.radians(elevation)
    middle = float(subject.points[:, 2].max()) / 2
    forward = np.array([0, np.cos(e), -np.sin(e)])
    roll = 0.0 if iconic else np.radians(rng.normal(0, 2.5))
    right = np.array([1.0, 0, 0])
    down = np.cross(forward, right)
    axes = np.stack(
        [np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward]
    ).astype(np.float32)
    eye = (np.array([0, 0, middle]) - distance * forward).astype(np.float32)
    xy, _ = Camera(eye, axes, 1.0, (0.0, 0.0)).project(subject.points)
    low, high = xy.min(axis=0), xy.max(axis=0)
    fill = rng.uniform(0.80, 0.88) if iconic else rng.uniform(0.48, 0.86)
    if not iconic and rng.random() < 0.15:
        fill = rng.uniform(0.95, 1.12)  # too close: cut by the frame
    focal = fill * float(min(width / (high[0] - low[0]), height / (high[1] - low[1])))
    centre = np.array([width, height]) / 2 - focal * (low + high) / 2
    if not iconic:
        spare = np.maximum(1 - focal * (high - low) / [width, height], 0.08)
        centre += rng.uniform(-0.5, 0.5, 2) * spare * [width, height] * 0.8
    return Camera(eye, axes, focal, (float(centre[0]), float(centre[1])))


def _neighbours(rng: np.random.Generator, subject: Mesh, camera: Camera) -> list[Placed]:
    """Other products and clutter around the subject; none covers more than a sixth of the subject's frame."""
    out: list[Placed] = []
    xy, _ = camera.project(subject.points)
    low, high = xy.min(axis=0), xy.max(axis=0)
    reach = float(np.abs(subject.points[:, :2]).max())
    for _ in range(int(rng.integers(0, 4)) + int(rng.integers(0, 3))):
        if rng.random() < 0.55:
            other = make_product(_EXTRA_IDENTITY + int(rng.integers(10**6)))
            size = float(rng.uniform(0.55, 1.0))
            thing = Placed(mesh_of(other).stretch(size, size, size), finish_of(other), other)
        else:
            thing = clutter(rng)
        mesh = turned(thing.mesh, float(rng.uniform(0, 360)))
        half = float(np.abs(mesh.points[:, :2]).max())
        angle = np.radians(rng.uniform(-20, 200))
        far = (reach + half) * rng.uniform(0.95, 1.5)
        mesh = mesh.move(float(far * np.cos(angle)), float(far * np.sin(angle)))
        spot, _ = camera.project(mesh.points)
        overlap = np.maximum(np.minimum(spot.max(axis=0), high) - np.maximum(spot.min(axis=0), low), 0)
        in_front = float(mesh.points[:, 1].mean()) < 0.3
        if in_front and float(np.prod(overlap)) > float(np.prod(high - low)) / 6:
            continue
        out.append(Placed(mesh, thing.finish, thing.product))
    return out


def build_scene(rng: np.random.Generator, product: Product, width: int, height: int, iconic: bool) -> Scene:
    """Everything that a photo of the product with width x height pixels shows."""
    azimuth = float(rng.uniform(-35, 35) if iconic else rng.uniform(-180, 180))
    if not iconic and rng.random() < 0.6:
        azimuth *= 0.4  # people mostly photograph the front
    if product.category in ("cushion", "bag"):
        azimuth *= 0.5  # a flat thing shows nothing from its edge
    elevation = float(rng.uniform(14, 28) if iconic else rng.uniform(6, 48))
    if product.category == "plate":
        elevation += 22  # flat things are photographed from above
    distance = float(rng.uniform(3.4, 4.6) if iconic else rng.uniform(2.4, 4.8))
    mesh = turned(mesh_of(product), azimuth)
    camera = framing_camera(rng, mesh, (width, height), iconic, (azimuth, elevation, distance))
    objects = [Placed(mesh, finish_of(product), product)]
    if not iconic:
        objects += _neighbours(rng, mesh, camera)
    return Scene(
        tuple(objects),
        camera,
        draw_light(rng, iconic),
        4.0 if iconic else float(rng.uniform(1.0, 5.0)),
        None if iconic else draw_covering(rng, wall=False),
        None if iconic else draw_covering(rng, wall=True),
        float(rng.uniform(1.3, 3.2)),
        float(rng.uniform(-0.5, 0.5)),
        (azimuth, elevation, distance),
    )
