"""Every network: shapes of what it proposes, gradients of what it learns, and that it can learn one photo by heart."""

from __future__ import annotations

import copy

import pytest
import torch

from schemas.errors import ConfigError
from training.detection.networks.build import build_detector
from training.detection.networks.interface import DetectorNetwork, Target
from training.detection.networks.single_stage import best_anchors
from training.detection.recipe import NetworkSpec

SIDE, KINDS = 64, 3
DENSE = ("small", "single_stage")
LARGE = ("retinanet_r50", "fcos_r50", "faster_rcnn_r50")


def network(kind: str, pretrained: bool = False) -> DetectorNetwork:
    torch.manual_seed(0)
    spec = NetworkSpec(kind=kind, pretrained=pretrained, channels=16, depth=1, frozen=3)  # type: ignore[arg-type]
    return build_detector(spec, KINDS, SIDE)


def target(*rows: tuple[float, float, float, float], kinds: tuple[int, ...] = ()) -> Target:
    edges = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    return Target(edges, torch.tensor(kinds, dtype=torch.int64), torch.zeros(0, 4))


TWO = [target((0.1, 0.2, 0.6, 0.9), (0.5, 0.0, 0.9, 0.4), kinds=(1, 2)), target()]


def photos(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("kind", [*DENSE, *(pytest.param(kind, marks=pytest.mark.slow) for kind in LARGE[:2])])
def test_proposals_have_the_shapes_that_the_interface_says(kind: str) -> None:
    with torch.inference_mode():
        dense = network(kind).eval().dense(photos())
    proposals = dense.scores.shape[1]
    assert dense.boxes.shape == (2, proposals, 4)
    assert dense.kinds.shape == (2, proposals, KINDS - 1)
    for part in dense:
        assert part.isfinite().all()
        assert part.min() >= 0
        assert part.max() <= 1
    assert (dense.boxes[..., 2:] >= dense.boxes[..., :2]).all()


@pytest.mark.parametrize("kind", [*DENSE, *(pytest.param(kind, marks=pytest.mark.slow) for kind in LARGE)])
def test_every_parameter_that_may_learn_gets_a_gradient(kind: str) -> None:
    model = network(kind).train()
    loss = torch.stack(list(model.losses(photos(), TWO).values())).sum()
    loss.backward()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert loss.isfinite()
    assert [name for name, p in parameters.items() if p.grad is None or not p.grad.isfinite().all()] == []
    trunk = {id(p) for p in model.trunk_parameters()}
    assert trunk
    assert trunk < {id(p) for p in parameters.values()}


@pytest.mark.parametrize("kind", DENSE)
def test_photos_without_a_box_teach_too(kind: str) -> None:
    terms = network(kind).losses(photos(), [target(), target()])
    assert all(term.isfinite() for term in terms.values())
    assert terms["product"] > 0


@pytest.mark.parametrize("kind", DENSE)
def test_an_ignored_box_teaches_less_than_background(kind: str) -> None:
    """The same photo with a box that is ignored has fewer cells to learn from, so its loss is smaller."""
    model = network(kind)
    everywhere = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    with torch.no_grad():
        ignored, background = (model.losses(photos(1), [one])["product"] for one in (everywhere, target()))
    assert ignored < background


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "rate"), [("small", 3e-3), ("single_stage", 3e-4)])
def test_one_photo_is_learnt_by_heart(kind: str, rate: float) -> None:
    """YOLOv3's sizes are exponents, which a high rate or a trunk at random drives to their bound for good."""
    model = network(kind, pretrained=kind == "single_stage").train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], rate)
    one = [target((0.1, 0.2, 0.6, 0.9), kinds=(2,))]
    for _ in range(120):
        optimiser.zero_grad()
        torch.stack(list(model.losses(photos(1), one).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    with torch.inference_mode():
        dense = model.eval().dense(photos(1))
    best = int(dense.scores[0].argmax())
    assert torch.allclose(dense.boxes[0, best], one[0].edges[0], atol=0.06)
    assert dense.kinds[0, best].argmax() == 1


def test_frozen_blocks_stay_as_they_are() -> None:
    model = network("small")
    before = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    torch.stack(list(model.losses(photos(), TWO).values())).sum().backward()
    optimiser.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    frozen = ("pyramid.stem.", "pyramid.blocks.0.", "pyramid.blocks.1.", "pyramid.blocks.2.")
    assert not [name for name in changed if name.startswith(frozen)]
    assert [name for name in changed if name.startswith("pyramid.blocks.3.")]


def test_an_anchor_of_the_same_size_around_the_middle_answers_for_a_box() -> None:
    middles = [(x, y) for y in (8, 24, 40) for x in (8, 24, 40)]
    sizes = ((10, 10), (30, 12))
    rows = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y in middles for w, h in sizes]
    boxes = torch.tensor([[19.0, 20.0, 29.0, 30.0], [27.0, 0.0, 55.0, 12.0]])
    assert best_anchors(torch.tensor(rows), boxes).tolist() == [2 * 4, 2 * 2 + 1]


def test_two_stages_cannot_be_exported_and_a_missing_file_of_weights_is_named() -> None:
    with pytest.raises(ConfigError, match=r"network\.weights: .*missing\.pt"):
        build_detector(NetworkSpec(pretrained=False, channels=8, weights="missing.pt"), KINDS, SIDE)


@pytest.mark.slow
def test_faster_rcnn_answers_and_says_that_it_is_not_exported() -> None:
    model = network("faster_rcnn_r50").eval()
    with torch.inference_mode(), pytest.raises(ConfigError, match="not exported"):
        model.dense(photos())
    assert len(model.detect(photos())) == 2  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE[:2])
def test_proposals_are_those_of_torchvision_itself(kind: str) -> None:
    """Every box that the model itself answers with is among the proposals, with its score."""
    model = network(kind).eval()
    model.body.score_thresh = 0.0  # type: ignore[union-attr]
    own = model.detect(photos(1))[0]  # type: ignore[operator]
    with torch.inference_mode():
        dense = model.dense(photos(1))
    for box, label, score in list(zip(own["boxes"] / SIDE, own["labels"], own["scores"], strict=True))[:20]:
        near = (dense.boxes[0] - box).abs().amax(1) < 2e-3
        assert near.any()
        if label > 0:
            assert (dense.kinds[0, near, label - 1] - score).abs().min() < 1e-4
