"""What trials count, against counting by hand; the rows that the comparing commands train."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.networks import ablation, hash_axes, one_trunk, unseen
from benchmarks.trials import Seen, column, found_first, head_hits, look, numbers_of, paired_interval, trained
from tests.training.tiny import tiny_recipe
from training.bundle.hash_layers import rotated_axes
from training.recipe import load_recipe

pytestmark = pytest.mark.slow


def seen(rng: np.random.Generator, n: int) -> Seen:
    embedding = rng.standard_normal((n, 400)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    code = rng.integers(0, 256, (n, 32), dtype=np.uint8)
    return Seen(np.arange(n), rng.random((n, 7)).astype(np.float32), embedding, code, {})


def test_found_first_is_the_nearest_picture_by_every_code() -> None:
    rng = np.random.default_rng(0)
    photos, gallery = seen(rng, 30), seen(rng, 12)
    ids, theirs = rng.choice(list("abcdez"), 30), np.array(list("abcdefabcdef"))  # nobody shows a z
    hits = found_first(photos, gallery, ids, theirs)
    for i in range(30):
        cosines = {
            "feature": [p @ photos.feature[i] / np.linalg.norm(p) for p in gallery.feature],
            "embedding": [p @ photos.embedding[i] for p in gallery.embedding],
        }
        for name, values in cosines.items():
            assert hits[name][i] == (theirs[int(np.argmax(values))] == ids[i])
        bits = np.array(
            [sum(bin(a ^ b).count("1") for a, b in zip(photos.code[i], c, strict=True)) for c in gallery.code]
        )
        nearest = set(theirs[bits == bits.min()])
        assert hits["hash"][i] == (ids[i] in nearest) or len(nearest) > 1
    assert not hits["embedding"][ids == "z"].any()


def test_the_paired_interval_holds_the_difference_and_shrinks_with_photos() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for n in (200, 20_000):
        theirs = rng.random(n) < 0.7
        ours = theirs | (rng.random(n) < 0.1)
        gap, low, high = paired_interval(ours, theirs)
        assert gap == pytest.approx(100 * (ours.mean() - theirs.mean()))
        assert low < gap < high
        widths.append(high - low)
    # a normal interval of the same sample: 2 · 1.96 · s / √n
    spread = float(np.std(ours.astype(float) - theirs.astype(float)))
    assert widths[1] == pytest.approx(100 * 2 * 1.96 * spread / np.sqrt(20_000), rel=0.1)
    assert widths[0] > 5 * widths[1]


def test_a_trial_trains_once_and_counts_as_its_rows_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = msgspec.structs.replace(tiny_recipe(1), heads=tiny_recipe().heads[:2])
    network, corpus = trained(recipe, tmp_path, tmp_path, "one", "cpu")
    monkeypatch.setattr("training.loop.train.train_step", lambda *_: pytest.fail("it was trained already"))
    again, _ = trained(recipe, tmp_path, tmp_path, "one", "cpu")
    assert all((a == b).all() for a, b in zip(network.parameters(), again.parameters(), strict=True))
    numbers = numbers_of(corpus, "studio", "train")
    hits = head_hits(found := look(network, corpus, numbers, recipe.size), corpus)
    names = column(corpus, numbers, "category")
    values = corpus.heads[0].values
    expected = [values[b] == n for b, n in zip(found.best["studio.category"], names, strict=True) if n in values]
    assert hits["studio.category"].tolist() == expected


def test_the_rows_of_the_ablation_add_one_loss_at_a_time() -> None:
    rows = ablation.rows(load_recipe(ablation.RECIPE))
    counts = [(len(r.heads), len(r.losses), r.pooling) for r in rows.values()]
    assert counts == [(4, 0, "gem"), (5, 0, "gem"), (5, 1, "gem"), (5, 2, "gem"), (5, 3, "gem"), (5, 3, "average")]
    first, *others = rows.values()
    assert all((r.schedule, r.size, r.datasets) == (first.schedule, first.size, first.datasets) for r in others)


def test_a_network_of_its_own_sees_as_many_photos_of_its_data_set() -> None:
    whole = one_trunk.budget(load_recipe(one_trunk.RECIPE), 10, 96)
    head = next(h for h in whole.heads if h.id == "clothing.type")
    own = one_trunk.alone(whole, head)
    assert [d.name for d in own.datasets] == ["clothing"]
    assert own.datasets[0] == next(d for d in whole.datasets if d.name == "clothing")
    assert (own.schedule, own.size, own.heads) == (whole.schedule, 96, [head])


def test_a_network_of_its_own_has_no_finer_head() -> None:
    whole = one_trunk.budget(load_recipe(one_trunk.RECIPE), 10, 96)
    (coarse,) = one_trunk.alone(whole, next(h for h in whole.heads if h.id == "grocery.coarse")).heads
    assert (coarse.id, coarse.finer) == ("grocery.coarse", "")


def test_weights_of_some_heads_may_be_others() -> None:
    recipe = load_recipe(one_trunk.RECIPE)
    other = one_trunk.weighed(recipe, dict([one_trunk.head_weight("clothing.type=2.5")]))
    changed = [(old.id, new.weight) for old, new in zip(recipe.heads, other.heads, strict=True) if old != new]
    assert changed == [("clothing.type", 2.5)]
    assert one_trunk.weighed(recipe, {}) == recipe
    with pytest.raises(ValueError, match=r"has no head 'shoes'; it has object, grocery\.product"):
        one_trunk.weighed(recipe, {"shoes": 1.0})


def test_axes_lose_what_their_draws_lose() -> None:
    """Two draws by hand, photo by photo; enough axes and a photo that is not rounded lose little."""
    rng = np.random.default_rng(3)
    pictures = rng.standard_normal((20, 400)).astype(np.float32)
    ids = np.arange(20)
    photos = pictures[ids] + rng.normal(0, 1.2, (20, 400)).astype(np.float32)
    fit = np.concatenate([pictures + rng.normal(0, 0.5, (20, 400)).astype(np.float32) for _ in range(30)])
    pairs = [(photos, pictures, ids, ids)]
    rounded, kept = hash_axes.lost(fit, pairs, 24, 2)
    expected: dict[str, list[float]] = {"rounded": [], "kept": []}
    for seed in (0, 1):
        weight, bias = rotated_axes(fit, 256, 24, seed)
        codes = [weight @ one + bias > 0 for one in pictures]
        for name, hits in expected.items():
            right = 0
            for i, photo in enumerate(photos):
                margin = weight @ photo + bias
                cost = np.abs(margin) if name == "kept" else np.ones(256)
                right += int(np.argmin([cost[(margin > 0) != code].sum() for code in codes])) == i
            hits.append(right / 20)
    best = np.mean([int(np.argmax(pictures @ photo)) == i for i, photo in enumerate(photos)])
    assert rounded == pytest.approx(best - np.mean(expected["rounded"]), abs=1e-6)
    assert kept == pytest.approx(best - np.mean(expected["kept"]), abs=1e-6)


def test_every_fifth_product_is_left_out_of_groceries_alone() -> None:
    recipe = unseen.without_products(load_recipe(unseen.RECIPE))
    assert {d.name: d.leave_out for d in recipe.datasets if d.leave_out} == {"grocery": "product_id"}
    assert next(d for d in recipe.datasets if d.name == "grocery").leave_out_every == unseen.EVERY
