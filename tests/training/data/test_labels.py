"""Targets of heads, products and groups, against tables small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from schemas.errors import ConfigError
from training.data.labels import Targets, build_labels, groups_of, imagenet_names, product_ids
from training.data.photos import PhotoSet
from training.recipe import DataSet, HeadSpec, Recipe, Schedule

torch.set_num_threads(1)


def photo_set(name: str, rows: list[dict[str, str]], product: str = "") -> PhotoSet:
    spec = DataSet(name=name, folder=name, share=2, catalogue=1, product=product)
    pixels = np.arange(len(rows), dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    return PhotoSet(spec, pixels, rows)


SHOP = [
    {"split": "train", "domain": "natural", "kind": "mug", "product": "a", "title": "Red mugs, the best"},
    {"split": "train", "domain": "natural", "kind": "mug", "product": "b", "title": "NEW blue_mug 2011"},
    {"split": "train", "domain": "natural", "kind": "hat", "product": "b", "title": ""},
    {"split": "gallery", "domain": "iconic", "kind": "hat", "product": "a", "title": "mugs"},
    {"split": "test", "domain": "natural", "kind": "rug", "product": "c", "title": "rug"},
    {"split": "val", "domain": "natural", "kind": "NA", "product": "a", "title": ""},
]


STREET = [{"split": "train", "kind": "mug"}, {"split": "test", "kind": "mug"}]


def recipe(*heads: HeadSpec, sets: tuple[str, ...] = ("shop", "street")) -> Recipe:
    datasets = [DataSet(name=name, folder=name, share=2, catalogue=1) for name in sets]
    return Recipe(name="r", size=32, cache_size=32, datasets=datasets, heads=list(heads), schedule=Schedule(steps=1))


def test_labels_come_from_training_photos_of_their_own_data_sets() -> None:
    sets = [photo_set("shop", SHOP), photo_set("street", STREET)]
    head = HeadSpec(id="kind", column="kind", datasets=["shop"], min_photos=2)
    (target,) = build_labels(recipe(head), sets)
    assert target.values == ["hat", "mug"]  # a rug was only ever tested
    assert target.targets.tolist() == [1, 1, 0, 0, -1, -1, -1, -1]


def test_one_label_is_no_head() -> None:
    with pytest.raises(ConfigError, match="lower min_photos"):
        build_labels(
            recipe(HeadSpec(id="kind", column="kind", datasets=["street"])),
            [photo_set("shop", SHOP), photo_set("street", STREET)],
        )


def test_query_labels() -> None:
    head = HeadSpec(id="query", column="query", source="queries", kind="multi_label", datasets=["shop"], min_photos=2)
    (target,) = build_labels(recipe(head, sets=("shop",)), [photo_set("shop", [*SHOP, dict(SHOP[1])])])
    assert target.values == ["best", "blue", "mug", "mugs"][1:]
    assert target.targets[1].tolist() == [True, True, False]
    assert target.targets[4].tolist() == [False, False, False]


def test_products_are_those_of_training_and_sets_do_not_mix() -> None:
    sets = [photo_set("shop", SHOP, "product"), photo_set("other", SHOP[:1], "product"), photo_set("street", STREET)]
    assert product_ids(sets).tolist() == [1, 2, 2, 1, -1, -1, 0, -1, -1]


def test_products_of_another_set_are_that_sets_products() -> None:
    photo = {"split": "train", "product": "b"}
    spec = DataSet(name="weak", share=1, product="product", products_of="shop")
    weak = PhotoSet(spec, np.zeros((2, 32, 32, 3), np.uint8), [photo, photo | {"product": ""}])
    assert product_ids([photo_set("shop", SHOP, "product"), weak]).tolist() == [0, 1, 1, 0, -1, -1, 1, -1]


def test_several_labels_in_a_column() -> None:
    rows = [{"split": "train", "tags": "red|round"}, {"split": "train", "tags": "red"}, {"split": "val", "tags": ""}]
    head = HeadSpec(id="tags", column="tags", kind="multi_label", datasets=["shop"])
    (target,) = build_labels(recipe(head, sets=("shop",)), [photo_set("shop", rows)])
    assert target.values == ["red", "round"]
    assert target.targets.tolist() == [[True, True], [True, False], [False, False]]


def test_a_thousand_classes_with_names_of_their_own() -> None:
    assert len(set(imagenet_names())) == 1000


COARSE = HeadSpec(id="coarse", column="coarse", datasets=["shop"], finer="product")


FINE = HeadSpec(id="product", column="product", datasets=["shop"])


PRODUCTS = Targets(FINE, ["apple", "milk", "pear"], np.array([0, 0, 2, 2, 1, -1, 2, 1]))


def test_shares_are_counted_over_the_training_photos() -> None:
    kinds = Targets(COARSE, ["dairy", "fruit"], np.array([1, 1, 1, 0, 0, 1, 1, -1]))
    finer, shares = groups_of([kinds, PRODUCTS], np.arange(8))["coarse"]
    assert finer == "product"
    assert shares.numpy() == pytest.approx(np.array([[0, 1], [1, 0], [1 / 3, 2 / 3]]))
    assert groups_of([kinds, PRODUCTS], np.array([0, 2, 4]))["coarse"][1].tolist() == [[0, 1], [1, 0], [0, 1]]
    assert groups_of([PRODUCTS], np.arange(8)) == {}


def test_a_finer_label_of_no_group_is_refused() -> None:
    kinds = Targets(COARSE, ["dairy", "fruit"], np.array([1, 1, 1, 1, -1, 1, 1, -1]))
    with pytest.raises(ConfigError, match=r"heads\[coarse\]\.finer: no training photo of product's 'milk'"):
        groups_of([kinds, PRODUCTS], np.arange(8))
