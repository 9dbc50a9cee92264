"""A whole run, small: train, resume, export, evaluate; real studio photos, the real engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.recognition import build_engine
from schemas.errors import ConfigError
from schemas.manifest import Manifest, load_manifest
from tests.training import tiny
from training.bundle.export import words_of
from training.data.corpus import batches, load_corpus
from training.evaluation import evaluate
from training.loop.state import State, centre_key, new_state
from training.loop.train import train_step
from training.loop.warm_start import PENALTY, fit_to_frozen
from training.readers.query_words import query_words
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
    assert np.array_equal(np.packbits(np.stack([found.margins(i) for i in range(3)]) > 0, axis=1), found.hash)
    assert load_manifest(bundle) == manifest


def test_weights_are_stored_in_half(made: tuple[Path, Manifest]) -> None:
    # 3.37 M of the trunk, 1,280 · 1,000 of `object`, 1,280 · 400 and 400 · 256: 5.3 M values, two bytes each
    size = (made[0] / "model.onnx").stat().st_size
    assert 10.5e6 < size < 11.5e6


def test_the_card_has_every_scored_head(made: tuple[Path, Manifest]) -> None:
    card = (made[0] / "card.md").read_text()
    for text in ("| studio | category |", "| studio | query |", "| studio | hash |", made[1].epoch):
        assert text in card


def test_what_words_were_taught_against_loops(made: tuple[Path, Manifest], tmp_path: Path) -> None:
    corpus = load_corpus(tiny.tiny_recipe(), tmp_path, made[0].parent / "run" / "cache")
    (targets,) = [one for one in corpus.heads if one.spec.id == "query"]
    taught: dict[str, list[float]] = {word: [] for word in targets.values}
    for row in corpus.sets[0].rows:
        words = query_words(row) & set(targets.values)
        if row["split"] in ("train", "gallery"):
            for word in words:
                taught[word].append(1 / len(words))
    found = words_of(corpus, targets)
    assert found.usual == pytest.approx([np.mean(taught[word]) for word in targets.values])
    assert set(found.source.tolist()) == {0}


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
    for by in ("float", "hash", "fine"):
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
    found = evaluate(made[0], folder)
    assert found["heads"] == {}
    assert found["queries"]["query"]["n"] == 0
    assert found["retrieval"]["hash"]["n"] == 12


def test_a_split_that_is_not_there_is_named(made: tuple[Path, Manifest], shop: Path) -> None:
    with pytest.raises(ConfigError, match="no photo has 'winter'"):
        evaluate(made[0], shop, split="winter")


def test_a_run_that_was_cut_goes_on_bit_for_bit(made: tuple[Path, Manifest], tmp_path: Path) -> None:
    recipe = tiny.tiny_recipe()
    corpus = load_corpus(recipe, tmp_path, made[0].parent / "run" / "cache")

    def steps(state: State, count: int) -> None:
        state.network.train()
        for numbers, _ in zip(batches(recipe, corpus, state.step), range(count), strict=False):
            train_step(recipe, state, corpus, numbers, state.step / 4)
            state.step += 1

    whole, cut, resumed = (new_state(recipe, corpus) for _ in range(3))
    steps(whole, 3)
    steps(cut, 2)
    cut.save(tmp_path / "checkpoint.pt")
    resumed.load(tmp_path / "checkpoint.pt")
    steps(resumed, 1)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    for name, value in whole.best.state_dict().items():
        assert torch.equal(value, resumed.best.state_dict()[name]), name
    hashed = centre_key("hash.arcface")
    assert torch.equal(whole.centres[hashed], resumed.centres[hashed])


def test_the_exported_weights_are_the_running_mean(made: tuple[Path, Manifest], tmp_path: Path) -> None:
    recipe = tiny.tiny_recipe()
    corpus = load_corpus(recipe, tmp_path, made[0].parent / "run" / "cache")
    state = new_state(recipe, corpus)
    mean = state.network.embed.weight.detach().clone().double()
    for step, numbers in zip(range(3), batches(recipe, corpus, 0), strict=False):
        train_step(recipe, state, corpus, numbers, 0.0)
        state.step += 1
        share = 1 - min(0.9, (1 + step) / (10 + step))
        mean += share * (state.network.embed.weight.detach().double() - mean)
    assert state.best is not state.network
    torch.testing.assert_close(state.best.embed.weight.double(), mean, rtol=0, atol=1e-6)


def test_heads_start_at_the_optimum_of_the_frozen_feature(made: tuple[Path, Manifest], tmp_path: Path) -> None:
    recipe = tiny.tiny_recipe()
    corpus = load_corpus(recipe, tmp_path, made[0].parent / "run" / "cache")
    target = next(t for t in corpus.heads if t.spec.id == "studio.category")
    head = torch.nn.Linear(1280, len(target.values))
    fitted, bias = fit_to_frozen(head, target, corpus)
    photos = corpus.sets[0]
    train = np.concatenate([photos.index("train", False), photos.index("train", True)])
    feature = torch.from_numpy(corpus.frozen.feature[train].astype(np.float32))
    labels = torch.from_numpy(target.targets[train])

    def penalised(weight: torch.Tensor) -> float:
        scaled = weight * (feature.std(0, correction=0) + 1e-3)
        loss = torch.nn.functional.cross_entropy(feature @ weight.T + bias, labels)
        return float(loss + PENALTY * scaled.square().sum())

    best = penalised(fitted)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):  # convex: every step away from the optimum is uphill
        step = torch.randn(fitted.shape, generator=generator)
        assert penalised(fitted + step * 0.1) > best
