"""A photo asked for over HTTP finds its catalogue picture as often as the offline evaluation of the bundle says.

Ties are ranked by listing id, offline by a fixed shuffle: the listings get their ids in the order of that shuffle.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import training
from tests.workers.search.rig import Rig, rig
from training.evaluation import evaluate
from training.evaluation.evaluate import select
from training.evaluation.metrics import SHUFFLE_SEED
from training.readers import read
from training.readers.label_table import Row, is_catalogue
from training.studio import TEST_IDENTITIES, write_dataset

pytestmark = pytest.mark.slow

BUNDLE = Path(training.__file__).parent / "bundles" / "demo"
DATA = os.environ.get("GROKNET_DATA", "")
KS = (1, 5, 10)


def listed(made: Rig, data: Path, catalogue: Sequence[Row]) -> dict[str, str]:
    """Send every catalogue picture as a listing of its own; listing id → product."""
    products = {}
    for place, i in enumerate(np.random.default_rng(SHUFFLE_SEED).permutation(len(catalogue))):
        listing_id = f"catalogue/{place:06}"
        made.add(listing_id, {"front": (data / catalogue[i]["path"]).read_bytes()})
        products[listing_id] = catalogue[i]["product"]
    made.indexed(len(catalogue))
    return products


def over_http(home: Path, data: Path, order: str) -> dict[str, float]:
    """Recall among the first of KS listings that the service answers with, over all test photos."""
    rows = select(read("csv", data).rows, "test")
    catalogue = [row for row in rows if is_catalogue(row)]
    sold = {row["product"] for row in catalogue}
    photos = [row for row in rows if not is_catalogue(row) and row["product"] in sold]
    fine = "false" if order == "hash" else "true"
    with rig(home, BUNDLE, rescore=order == "rescored") as made:
        products = listed(made, data, catalogue)

        def hits(row: Row) -> list[bool]:
            status, answer = made.search((data / row["path"]).read_bytes(), f"?k={KS[-1]}&vote=false&fine={fine}")
            assert status == 200, answer
            found = [products[n["listing_id"]] for n in answer["neighbours"]]
            return [row["product"] in found[:k] for k in KS]

        with ThreadPoolExecutor(4) as clients:
            recall = np.mean(list(clients.map(hits, photos)), axis=0)
    return {"n": len(photos), **{f"recall_at_{k}": float(share) for k, share in zip(KS, recall, strict=True)}}


def check(home: Path, data: Path) -> None:
    offline = evaluate(BUNDLE, data)["retrieval"]
    for order in ("hash", "fine", "rescored"):
        served = over_http(home / order, data, order)
        assert {k: round(v, 3) for k, v in served.items()} == {k: round(offline[order][k], 3) for k in served}, order
        assert 0.2 < served["recall_at_1"] < 1, "neither all nor nothing: the figures can tell a difference"


@pytest.mark.timeout(300)
def test_studio_photos_find_their_catalogue_pictures_as_offline(tmp_path):
    data = tmp_path / "data"
    write_dataset(data, TEST_IDENTITIES[:60], 2, (200, 200), workers=1, progress=False, split="test")
    check(tmp_path / "home", data)


@pytest.mark.data
@pytest.mark.timeout(900)
@pytest.mark.skipif(not DATA, reason="GROKNET_DATA names no folder of real photos")
def test_grocery_photos_find_their_catalogue_pictures_as_offline(tmp_path):
    check(tmp_path / "home", Path(DATA) / "grocery")
