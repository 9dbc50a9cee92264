"""A whole run, small: train, resume, export, evaluate; real studio photos, the real engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.recognition import build_engine
from schemas.errors import ConfigError
from schemas.manifest import Manifest, load_manifest
from tests.training import tiny
from training.evaluation import evaluate
from training.studio import TEST_IDENTITIES, write_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    bundle, manifest = tiny.tiny_bundle(tmp_path_factory.mktemp("tiny"))
    return bundle, manifest


def test_the_bundle_opens_and_answers(made: tuple[Path, Manifest]) -> None:
    bundle, manifest = made
    engine = build_engine(bundle, threads=1)
    photos = np.load(bundle / "parity.npz")["photos"]
    found = engine.infer(photos[:3])
    assert found.hash.shape == (3, 32)
    assert np.linalg.norm(found.embedding, axis=1) == pytest.approx(np.ones(3), abs=1e-4)
    assert set(found.heads) == {"studio.category", "studio.colour", "object", "query"}
    assert np.array_equal(np.packbits(np.stack([found.unrounded(i).margins for i in range(3)]) > 0, axis=1), found.hash)
    assert load_manifest(bundle) == manifest


def test_weights_are_stored_in_half(made: tuple[Path, Manifest]) -> None:
    # 3.37 M of the trunk, 1,280 · 1,000 of `object`, 1,280 · 400 and 400 · 256: 5.3 M values, two bytes each
    size = (made[0] / "model.onnx").stat().st_size
    assert 10.5e6 < size < 11.5e6


def test_the_card_has_every_scored_head(made: tuple[Path, Manifest]) -> None:
    card = (made[0] / "card.md").read_text()
    for text in ("| studio | category |", "| studio | query |", "| studio | hash |", made[1].epoch):
        assert text in card


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_dataset(folder, TEST_IDENTITIES[:6], 2, size=(96, 64), workers=1, progress=False, split="test")
    return folder


def test_evaluate_gives_the_promised_form(made: tuple[Path, Manifest], shop: Path) -> None:
    found = evaluate(made[0], shop)
    assert found["photos"] == {"listed": 18, "read": 18, "missing": 0, "unreadable": 0}
    for figures in found["heads"].values():
        assert {"n", "top1", "top5", "macro", "ece", "outside"} <= set(figures)
    for by in ("float", "hash", "fine", "rescored"):
        assert {"n", "recall_at_1", "recall_at_5", "recall_at_10", "map"} == set(found["retrieval"][by])
        assert found["retrieval"][by]["n"] == 12
        assert found["retrieval"][by]["recall_at_10"] == 1  # 6 pictures in all
    assert "query" not in found["heads"]
    assert found["queries"]["query"]["map"] is not None
    category = found["heads"]["category"]
    assert (category["n"] or 0) + (category["outside"] or 0) == 12
    json.dumps(found)


def rewrite(shop: Path, folder: Path, head: str, new: str) -> Path:
    text = (shop / "labels.csv").read_text()
    folder.mkdir()
    (folder / "labels.csv").write_text(text.replace(head, new, 1))
    (folder / "images").symlink_to(shop / "images")
    return folder


def test_a_column_of_another_name_is_mapped(made: tuple[Path, Manifest], shop: Path, tmp_path: Path) -> None:
    other = rewrite(shop, tmp_path / "other", "category", "kind")
    assert "category" not in evaluate(made[0], other)["heads"]
    mapped = evaluate(made[0], other, columns={"kind": "studio_category"})
    assert mapped["heads"]["kind"] == evaluate(made[0], shop)["heads"]["category"]
    with pytest.raises(ConfigError, match="no head 'nothing'"):
        evaluate(made[0], other, columns={"kind": "nothing"})
    with pytest.raises(ConfigError, match="not in labels"):
        evaluate(made[0], other, columns={"absent": "studio_category"})


def test_products_never_seen_are_retrieval_only(made: tuple[Path, Manifest], shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    (folder / "images").symlink_to(shop / "images")
    rows = [line.split(",") for line in (shop / "labels.csv").read_text().splitlines()[1:]]
    lines = ["path,domain,product", *(",".join([row[0], row[1], "zzz" + row[3].split("-")[1]]) for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    found = evaluate(made[0], folder, split="all")
    assert found["heads"] == {}
    assert found["queries"]["query"]["n"] == 0
    assert found["retrieval"]["hash"]["n"] == 12


def test_a_split_that_is_not_there_is_named(made: tuple[Path, Manifest], shop: Path) -> None:
    with pytest.raises(ConfigError, match="no photo has 'winter'"):
        evaluate(made[0], shop, split="winter")
