"""Average precision and the subject's box: against COCO's own computation, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.detection.data.boxed_set import Boxes
from training.detection.evaluation.scoring import OVERLAPS, Found, average_precision, best_is_right, figures_of


def random_photos(count: int, seed: int) -> tuple[list[Found], list[Boxes]]:
    """Known boxes, and boxes found that are shifted copies of them among false ones. Some known boxes are ignored."""
    rng = np.random.default_rng(seed)
    found, known = [], []
    for _ in range(count):
        many = int(rng.integers(0, 7))
        low = rng.uniform(0, 0.6, (many, 2))
        edges = np.concatenate([low, low + rng.uniform(0.05, 0.4, (many, 2))], axis=1).astype(np.float32)
        near = edges + rng.normal(0, 0.03, edges.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 0.01)
        false_low = rng.uniform(0, 0.6, (3, 2))
        false = np.concatenate([false_low, false_low + rng.uniform(0.05, 0.4, (3, 2))], axis=1)
        boxes = np.concatenate([near, false])
        scores = rng.uniform(0.1, 1, len(boxes))
        order = np.argsort(-scores)
        found.append(Found(boxes[order], scores[order], np.zeros(len(boxes), np.int64)))
        ignored = rng.random(many) < 0.15
        known.append(Boxes(edges[~ignored], np.zeros((~ignored).sum(), np.int64), edges[ignored]))
    return found, known


def test_average_precision_equals_cocos() -> None:
    coco = pytest.importorskip("faster_coco_eval")
    found, known = random_photos(40, 5)
    size = 1000
    images = [{"id": i + 1, "width": size, "height": size} for i in range(len(known))]
    annotations = []
    for i, boxes in enumerate(known):
        for crowd, edges in ((0, boxes.edges), (1, boxes.ignored)):
            for left, top, right, bottom in edges.astype(float) * size:
                box = [left, top, right - left, bottom - top]
                area = box[2] * box[3]
                one = {"id": len(annotations) + 1, "image_id": i + 1, "category_id": 1, "bbox": box}
                annotations.append(one | {"area": area, "iscrowd": crowd})
    truth = coco.COCO({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "product"}]})
    rows = [
        {"image_id": i + 1, "category_id": 1, "bbox": [a, b, c - a, d - b], "score": float(score)}
        for i, one in enumerate(found)
        for (a, b, c, d), score in zip((one.edges * size).tolist(), one.scores, strict=True)
    ]
    judge = coco.COCOeval_faster(truth, truth.loadRes(rows), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    ours = [average_precision(found, known, least) for least in OVERLAPS]
    assert ours[0] == pytest.approx(judge.stats[1], abs=1e-6)
    assert float(np.mean(ours)) == pytest.approx(judge.stats[0], abs=1e-6)


def edges(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_average_precision_by_hand() -> None:
    """Two known boxes; found are a right one, a false one, and the second right one: precision 1 up to a recall of .5,
    then 2/3."""
    known = Boxes(edges((0, 0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)), np.zeros(2, np.int64), edges())
    three = edges((0, 0, 0.4, 0.4), (0, 0.6, 0.2, 0.9), (0.5, 0.5, 0.9, 0.9))
    found = Found(three, np.array([0.9, 0.8, 0.7]), np.zeros(3, np.int64))
    assert average_precision([found], [known], 0.5) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_second_box_on_one_product_is_false_and_one_on_an_ignored_box_does_not_count() -> None:
    known = Boxes(edges((0, 0, 0.4, 0.4)), np.zeros(1, np.int64), edges((0.5, 0.5, 1, 1)))
    twice = Found(edges((0, 0, 0.4, 0.39), (0, 0, 0.4, 0.4)), np.array([0.9, 0.5]), np.zeros(2, np.int64))
    beside = Found(edges((0.6, 0.6, 0.9, 0.9), (0, 0, 0.4, 0.4)), np.array([0.9, 0.5]), np.zeros(2, np.int64))
    right = figures_of([beside], [known])
    assert right.ap50 == pytest.approx(1.0)
    assert right.photos == right.boxes == 1
    assert average_precision([twice], [known], 0.5) == pytest.approx(1.0)  # the second one, false, comes last
    wrong = Found(edges((0.7, 0, 0.9, 0.3), (0, 0, 0.4, 0.4)), np.array([0.9, 0.5]), np.zeros(2, np.int64))
    assert average_precision([wrong], [known], 0.5) == pytest.approx(0.5)


def test_the_best_box_alone_decides_about_the_subject() -> None:
    known = Boxes(edges((0, 0, 0.4, 0.4)), np.zeros(1, np.int64), edges())
    wrong_first = Found(edges((0.5, 0.5, 0.9, 0.9), (0, 0, 0.4, 0.4)), np.array([0.9, 0.8]), np.zeros(2, np.int64))
    assert not best_is_right(wrong_first, known)
    assert best_is_right(Found(wrong_first.edges[1:], wrong_first.scores[1:], wrong_first.kinds[1:]), known)
    assert not best_is_right(Found(edges(), np.zeros(0), np.zeros(0, np.int64)), known)


def test_kinds_are_judged_where_they_are_known() -> None:
    known = Boxes(edges((0, 0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)), np.array([2, 0]), edges())
    found = Found(known.edges, np.array([0.9, 0.8]), np.array([2, 1]))
    assert figures_of([found], [known]).kind == 1.0
    assert figures_of([Found(known.edges, found.scores, np.array([1, 1]))], [known]).kind == 0.0
