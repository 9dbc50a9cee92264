"""Photos of several products that stand together, with the exact box of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.errors import Invalid
from training.studio._drawing.finish import finish_of
from training.studio._drawing.room import draw_covering
from training.studio._drawing.scene import Placed, Scene, clutter, draw_light, framing_camera, turned
from training.studio._in_view import InView, products_in_view
from training.studio._photo import draw, lens
from training.studio._product import Product
from training.studio._shapes.mesh import join
from training.studio._shapes.product_mesh import mesh_of

_STREAM = 0x5CE7  # separates the random numbers of these photos from those of single products
_LONGEST = 448  # pixels of the drawing, as for single products
_TRIES = 40  # places that are tried for one thing before it is left out
_MOST_CLUTTER = 2


@dataclass(frozen=True)
class ScenePhoto:
    """A photo of several products.

    Attributes:
        pixels: `uint8 [h, w, 3]`, RGB.
        products: those in view, with their boxes. One that stands behind others entirely is not among them.
    """

    pixels: NDArray[np.uint8]
    products: list[InView]


def render_several(
    products: Sequence[Product], view: int, size: tuple[int, int] = (224, 224), seed: int = 0
) -> ScenePhoto:
    """A photo of these products together, with up to two things that are no products.

    Every view is another photo, and the same arguments give the same bytes. `size` is (width, height) in pixels.

    Raises:
        Invalid: no product is given, or a side is below 16 pixels.
    """
    if not products:
        raise Invalid("studio", "no_products", "products is empty: give one product or more")
    if min(size) < 16:
        raise Invalid("studio", "bad_size", f"size is {size}: give a width and a height of 16 pixels or more")
    identities = [product.identity % 2**64 for product in products]
    rng = np.random.default_rng([_STREAM, seed % 2**64, view % 2**64, *identities])
    factor = min(2.0, _LONGEST / max(size))
    width, height = (max(round(side * factor / 2) * 2, 16) for side in size)
    scene = _scene(rng, products, width, height)
    picture, owners = draw(rng, scene, width, height)
    shown = Image.fromarray((np.sqrt(np.clip(picture, 0, 1)) * 255).astype(np.uint8))
    small = shown.resize(size, Image.Resampling.BOX if factor >= 1 else Image.Resampling.BICUBIC)
    return ScenePhoto(lens(rng, small), products_in_view(scene, owners, size))


def _scene(rng: np.random.Generator, products: Sequence[Product], width: int, height: int) -> Scene:
    things = [_sized(rng, Placed(mesh_of(product), finish_of(product), product)) for product in products]
    others = [clutter(rng) for _ in range(int(rng.integers(_MOST_CLUTTER + 1)))]
    placed = _arranged(rng, things + others)
    view = (0.0, float(rng.uniform(14, 58)), float(rng.uniform(3.4, 6.0)))
    camera = framing_camera(rng, join([one.mesh for one in placed if one.product]), (width, height), False, view)
    return Scene(
        tuple(placed),
        camera,
        draw_light(rng, False),
        float(rng.uniform(1.0, 5.0)),
        draw_covering(rng, wall=False),
        draw_covering(rng, wall=True),
        float(rng.uniform(1.6, 3.6)),
        float(rng.uniform(-0.5, 0.5)),
        view,
    )


def _sized(rng: np.random.Generator, thing: Placed) -> Placed:
    """The product at a size of its own, turned about the vertical."""
    size = float(rng.uniform(0.55, 1.1))
    mesh = turned(thing.mesh.stretch(size, size, size), float(rng.uniform(-180, 180)))
    return Placed(mesh, thing.finish, thing.product)


def _arranged(rng: np.random.Generator, things: Sequence[Placed]) -> list[Placed]:
    """The things side by side on the floor. One that finds no free place is left out, but never the first."""
    discs: list[tuple[float, float, float]] = []
    placed = []
    spread = 0.45 * len(things) ** 0.5
    for thing in things:
        half = float(np.abs(thing.mesh.points[:, :2]).max())
        for _ in range(_TRIES):
            x, y = float(rng.uniform(-spread, spread) * 1.3), float(rng.uniform(-spread, spread))
            # a thing may reach a little into the circle around another, because few things are round
            if all(np.hypot(x - u, y - v) > 0.8 * (half + r) for u, v, r in discs):
                discs.append((x, y, half))
                placed.append(Placed(thing.mesh.move(x, y), thing.finish, thing.product))
                break
    return placed
