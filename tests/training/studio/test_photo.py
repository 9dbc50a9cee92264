"""Photos: the same bytes from the same arguments, and labels that are true of the pixels."""

from __future__ import annotations

import colorsys
import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from schemas.errors import Invalid
from training.studio import CATEGORIES, COLOURS, contact_sheet, make_product, render
from training.studio._drawing.raster import rasterise
from training.studio._drawing.scene import build_scene
from training.studio._shapes.product_mesh import mesh_of

_DIGEST = """
import hashlib
from training.studio import make_product, render
sha = hashlib.sha256()
for identity, domain, size in ((3, "iconic", (64, 48)), (4, "natural", (48, 64)), (-5, "natural", (96, 96))):
    photo = render(make_product(identity), 2, domain, size, seed=9)
    sha.update(photo.pixels.tobytes() + photo.mask.tobytes() + repr((photo.box, photo.viewpoint)).encode())
digest = sha.hexdigest()
"""


def _first_of(category: str):
    return next(p for p in map(make_product, range(10_000)) if p.category == category)


def test_another_process_draws_the_same_bytes():
    here: dict[str, str] = {}
    exec(_DIGEST, here)
    there = subprocess.run(
        [sys.executable, "-c", _DIGEST + "print(digest)"], check=True, capture_output=True, text=True
    )
    assert there.stdout.strip() == here["digest"]


def test_identity_view_domain_and_seed_each_change_the_photo():
    product = make_product(11)
    photos = [
        render(product, 0, size=(48, 48)),
        render(product, 1, size=(48, 48)),
        render(product, 1, "iconic", size=(48, 48)),
        render(product, 0, size=(48, 48), seed=1),
        *(render(make_product(identity), 0, "iconic", size=(48, 48)) for identity in range(20)),
    ]
    assert len({hashlib.sha256(photo.pixels.tobytes()).digest() for photo in photos}) == len(photos)


@pytest.mark.parametrize("size", [(224, 224), (16, 40), (301, 200), (800, 600), (17, 16)])
def test_sizes(size):
    photo = render(make_product(2), 0, size=size)
    assert photo.pixels.shape == (size[1], size[0], 3)
    assert photo.pixels.dtype == np.uint8
    assert photo.mask.shape == (size[1], size[0])
    assert photo.mask.dtype == bool


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_is_seen_in_both_domains_with_a_box_that_holds_its_mask(category):
    for domain in ("iconic", "natural"):
        photo = render(_first_of(category), 1, domain, (64, 64))
        inside = [(x, y) for y in range(64) for x in range(64) if photo.mask[y, x]]
        assert len(inside) > 64 * 64 * 0.02
        columns, rows = [x for x, _ in inside], [y for _, y in inside]
        assert photo.box == (min(columns), min(rows), max(columns) + 1, max(rows) + 1)


def test_an_iconic_box_is_that_of_the_projected_points():
    for identity in range(12):
        product = make_product(identity)
        photo = render(product, 0, "iconic", (128, 128))
        scene = build_scene(np.random.default_rng([0x9A07, 0, identity, 0, 1]), product, 256, 256, True)
        xy, _ = scene.camera.project(scene.objects[0].mesh.points)
        low, high = (xy.min(axis=0) + 0.5) / 2, (xy.max(axis=0) + 0.5) / 2
        np.testing.assert_allclose(photo.box, [*low, *high], atol=1.5)


# Hue in degrees of each colour name; brown is a dark orange.
_HUES = {
    "red": (345, 376), "orange": (16, 38), "yellow": (40, 62), "green": (85, 150), "teal": (165, 192),
    "blue": (205, 245), "purple": (260, 295), "pink": (322, 348), "brown": (14, 38),
}  # fmt: skip


def _hue_saturation_value(colour) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*(np.asarray(colour) / 255))
    return hue * 360, saturation, value


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    ("category", "material"), [("vase", "ceramic"), ("cushion", "fabric"), ("carton", "cardboard")]
)
def test_the_mean_of_the_subject_has_the_named_colour_under_neutral_light(colour, category, material):
    one = _first_of(category)
    for shade in (0.0, 0.99):
        shape = (*one.shape[:8], shade, one.shape[9], 0.4, one.shape[11])  # 0.4: trimmed in steel, a neutral
        product = replace(one, colour=colour, material=material, pattern="plain", shape=shape)
        photo = render(product, 0, "iconic", (96, 96))
        hue, saturation, value = _hue_saturation_value(photo.pixels[photo.mask].mean(axis=0))
        if colour in _HUES:
            low, high = _HUES[colour]
            assert low <= hue <= high or low <= hue + 360 <= high, (hue, saturation, value)
            assert saturation > 0.25
            assert (value < 0.62) if colour == "brown" else (value > 0.3)
        else:
            assert saturation < 0.12
            low, high = {"black": (0, 0.36), "grey": (0.36, 0.72), "white": (0.75, 1)}[colour]
            assert low <= value <= high, value


@pytest.mark.parametrize("colour", sorted(_HUES))
@pytest.mark.parametrize("pattern", ["striped", "dotted", "checked", "zigzag", "marbled"])
def test_a_print_keeps_the_hue_of_the_name(colour, pattern):
    product = replace(_first_of("vase"), colour=colour, material="ceramic", pattern=pattern)
    photo = render(product, 0, "iconic", (96, 96))
    plain = render(replace(product, pattern="plain"), 0, "iconic", (96, 96))
    assert (photo.mask == plain.mask).all()
    assert np.abs(photo.pixels[photo.mask].astype(int) - plain.pixels[photo.mask]).max() > 40  # it can be seen
    hue, _, _ = _hue_saturation_value(photo.pixels[photo.mask].mean(axis=0))
    low, high = _HUES[colour]
    assert low <= hue <= high or low <= hue + 360 <= high


def test_rasterise_agrees_with_one_pixel_at_a_time():
    rng = np.random.default_rng(5)
    xy = rng.uniform(-4, 20, (30, 2)).astype(np.float32)
    nearness = rng.uniform(0.5, 2, 30).astype(np.float32)
    faces = rng.permutation(30).reshape(10, 3).astype(np.int32)
    shot = rasterise(xy, nearness, faces, 16, 12)
    seen = {int(pixel): i for i, pixel in enumerate(shot.pixel)}
    for y in range(12):
        for x in range(16):
            hits = []
            for number, face in enumerate(faces):
                edges = np.stack([xy[face[1]] - xy[face[0]], xy[face[2]] - xy[face[0]]], axis=1).astype(float)
                w1, w2 = np.linalg.solve(edges, [x, y] - xy[face[0]].astype(float))
                if min(w1, w2, 1 - w1 - w2) >= 0:
                    weights = [1 - w1 - w2, w1, w2]
                    hits.append((float(np.dot(weights, nearness[face])), number, weights))
            if not hits:
                assert y * 16 + x not in seen
                continue
            near, number, weights = max(hits)
            i = seen[y * 16 + x]
            assert shot.face[i] == number
            np.testing.assert_allclose(shot.nearness[i], near, rtol=1e-5)
            np.testing.assert_allclose(shot.weights[i], weights, atol=1e-4)


@pytest.mark.parametrize("category", CATEGORIES)
def test_meshes_stand_on_the_floor_with_unit_normals(category):
    seen = [p for p in map(make_product, range(400)) if p.category == category][:12]
    for product in seen:
        mesh = mesh_of(product)
        assert np.isfinite(mesh.points).all()
        assert abs(float(mesh.points[:, 2].min())) < 1e-5
        size = mesh.points.max(axis=0) - mesh.points.min(axis=0)
        assert float(np.linalg.norm(size)) == pytest.approx(1.7, rel=1e-4)
        length = np.linalg.norm(mesh.normals, axis=1)
        assert np.mean(np.abs(length - 1) < 1e-3) > 0.97  # the tips of closed tubes have none
        assert mesh.faces.max() < len(mesh.points)


def test_wrong_arguments_are_refused_by_name():
    with pytest.raises(Invalid, match="domain is 'studio'"):
        render(make_product(0), 0, "studio")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="size is"):
        render(make_product(0), 0, size=(8, 100))


def test_a_contact_sheet_holds_every_photo_where_it_belongs():
    photos = [render(make_product(i), 0, "iconic", (32, 24)) for i in range(5)]
    sheet = np.asarray(contact_sheet(photos, columns=3, captions=False))
    assert sheet.shape == (2 * 28, 3 * 36, 3)
    for number, photo in enumerate(photos):
        y, x = number // 3 * 28, number % 3 * 36
        assert (sheet[y : y + 24, x : x + 32] == photo.pixels).all()


# Mean RGB of photos as bundles have learnt them: identity, domain, mean. A change asks for a new bundle.
_LOOKS = (
    (200000, "iconic", (218.2, 214.4, 207.8)),
    (200001, "natural", (133.6, 115.1, 113.4)),
    (200002, "natural", (180.6, 147.0, 124.2)),
    (0, "iconic", (173.5, 181.5, 169.5)),
    (1, "natural", (78.4, 81.1, 84.8)),
    (100000, "natural", (132.4, 125.0, 124.0)),
)


@pytest.mark.parametrize(("identity", "domain", "mean"), _LOOKS)
def test_looks_are_those_that_bundles_have_learnt(identity, domain, mean):
    photo = render(make_product(identity), 0, domain, (96, 96))
    np.testing.assert_allclose(photo.pixels.mean(axis=(0, 1)), mean, atol=1.5)
