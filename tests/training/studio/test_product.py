"""Products: attributes, identities and titles."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from schemas.errors import Invalid
from training import studio
from training.studio import CATEGORIES, COLOURS, MATERIALS, PATTERNS, make_product


def test_the_public_names_are_pinned():
    assert studio.__all__ == [
        "CATEGORIES",
        "COLOURS",
        "DEMO_IDENTITIES",
        "LABEL_COLUMNS",
        "MATERIALS",
        "PATTERNS",
        "TEST_IDENTITIES",
        "TRAIN_IDENTITIES",
        "Domain",
        "InView",
        "Photo",
        "Product",
        "ScenePhoto",
        "contact_sheet",
        "make_product",
        "render",
        "render_several",
        "sample_of_each",
        "write_dataset",
    ]
    assert all(hasattr(studio, name) for name in studio.__all__)


def test_the_studio_needs_no_torch():
    code = "import sys, training.studio; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_identity_ranges_share_no_identity_and_no_product():
    ranges = (studio.TRAIN_IDENTITIES, studio.TEST_IDENTITIES, studio.DEMO_IDENTITIES)
    assert len(set().union(*ranges)) == sum(len(span) for span in ranges)
    shapes = {make_product(identity).shape for span in ranges for identity in span[:: len(span) // 300]}
    assert len(shapes) == sum(len(span[:: len(span) // 300]) for span in ranges)


@pytest.mark.parametrize("identity", [0, 7, -1, -(2**70), 2**64 + 5, 10**30])
def test_any_integer_is_an_identity_and_always_the_same_product(identity):
    assert make_product(identity, seed=3) == make_product(identity, seed=3)
    assert make_product(identity, seed=3).shape != make_product(identity, seed=4).shape


def test_every_attribute_is_drawn_and_titles_name_category_and_colour():
    products = [make_product(identity) for identity in range(1500)]
    assert {p.category for p in products} == set(CATEGORIES)
    assert {p.colour for p in products} == set(COLOURS)
    assert {p.material for p in products} == set(MATERIALS)
    assert {p.pattern for p in products} == set(PATTERNS)
    for product in products:
        words = product.title.lower().replace(",", " ").split()
        assert product.category in words
        assert product.colour in words
        named = {pattern for pattern in PATTERNS if pattern in words}
        assert named <= {product.pattern}
        assert product.title[0].isupper()
    assert len({p.title for p in products}) > 800  # sellers vary


@pytest.mark.parametrize("field", ["category", "colour", "material", "pattern"])
def test_an_unknown_attribute_is_refused_by_name(field):
    with pytest.raises(Invalid, match=rf"Product\.{field} is 'mauve'"):
        replace(make_product(1), **{field: "mauve"})


def test_a_short_shape_is_refused():
    with pytest.raises(Invalid, match=r"Product\.shape has 2 numbers"):
        replace(make_product(1), shape=(0.1, 0.2))
