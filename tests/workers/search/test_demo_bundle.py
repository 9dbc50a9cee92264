"""The committed bundle over studio photos of products that no training drew."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

import training
from tests.workers.search.rig import rig
from training.studio import DEMO_IDENTITIES, make_product, render

BUNDLE = Path(training.__file__).parent / "bundles" / "demo"
PRODUCTS = 10


def _shot(identity: int, view: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(render(make_product(identity), view, "natural", (320, 240)).pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def test_a_listed_photo_is_found_and_named_in_words(tmp_path):
    with rig(tmp_path, BUNDLE) as made:
        shots = {identity: _shot(identity, 0) for identity in list(DEMO_IDENTITIES)[:PRODUCTS]}
        for identity, data in shots.items():
            made.add(f"studio/{identity}", {"front": data})
        made.indexed(PRODUCTS)
        names = {label.display.get("en", label.value) for head in made.engine.manifest.heads for label in head.labels}
        for identity, data in shots.items():
            status, answer = made.search(data, f"?k={PRODUCTS}")
            assert status == 200
            assert answer["neighbours"][0]["distance"] == 0
            same = {n["listing_id"] for n in answer["neighbours"] if n["distance"] == 0}
            assert f"studio/{identity}" in same
            assert len(answer["neighbours"]) == PRODUCTS
            for best in answer["predictions"].values():
                assert {p["name"] for p in best} <= names
                assert all(0 <= p["probability"] <= 1 for p in best)
        heads = [head.id for head in made.engine.manifest.heads]
        assert sorted(answer["predictions"]) == sorted(heads)
