"""From a product to its mesh: built by category, then scaled to a common size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from training.studio._product import Product
from training.studio._shapes import furniture as _furniture
from training.studio._shapes import vessels as _vessels
from training.studio._shapes.mesh import Mesh

_BUILDERS: dict[str, Callable[[tuple[float, ...]], Mesh]] = {
    "mug": _vessels.mug,
    "bottle": _vessels.bottle,
    "bowl": _vessels.bowl,
    "lamp": _vessels.lamp,
    "stool": _furniture.stool,
    "chair": _furniture.chair,
    "table": _furniture.table,
    "bag": _furniture.bag,
    "carton": _furniture.carton,
    "ball": _vessels.ball_product,
    "vase": _vessels.vase,
    "hat": _vessels.hat,
    "plate": _vessels.plate,
    "teapot": _vessels.teapot,
    "cushion": _furniture.cushion,
    "bucket": _vessels.bucket,
}


@lru_cache(maxsize=64)
def mesh_of(product: Product) -> Mesh:
    """The product's mesh: centred on the z axis, standing on z = 0, its bounding box's diagonal 1.7 long.

    uv keep the builder's units, so that a print has the same scale on small and on large products.
    """
    mesh = _BUILDERS[product.category](product.shape)
    low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
    factor = 1.7 / float(np.linalg.norm(high - low))
    middle = (low + high) / 2
    middle[2] = low[2]
    return replace(mesh, points=((mesh.points - middle) * factor).astype(np.float32))
