"""Heads fitted again to photos as they are served: taken only where validation photos gain."""

from __future__ import annotations

import torch
from torch import nn

from training.bundle.refit import better_head


def world(shift: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes around corners of a cube, all moved by `shift`: what another resampling does to a feature."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(90) % 3
    noise = torch.randn(90, 8, generator=generator) * 0.3
    return torch.eye(8)[labels] + noise + shift, labels


def trained() -> nn.Linear:
    head = nn.Linear(8, 3)
    with torch.no_grad():
        head.weight.copy_(torch.eye(8)[:3] * 4 + torch.tensor([[0.0] * 8, [0.5] * 8, [-0.5] * 8]))
        head.bias.zero_()
    return head


def hits(head: nn.Linear, judged: tuple[torch.Tensor, torch.Tensor]) -> int:
    return int((head(judged[0]).argmax(1) == judged[1]).sum())


def test_a_head_that_the_shift_misleads_is_mended() -> None:
    head, judged = trained(), world(1.0, 2)
    before = hits(head, judged)
    assert better_head(head, world(1.0, 1), judged)
    assert hits(head, judged) > before
    assert hits(head, world(1.0, 3)) > hits(trained(), world(1.0, 3))  # and on photos that had no say


def test_a_head_that_validation_photos_like_is_left() -> None:
    head, judged = trained(), world(0.0, 2)
    kept = judged[0], head(judged[0]).argmax(1)  # it is right everywhere
    assert not better_head(head, world(0.0, 1), kept)
    assert torch.equal(head.weight, trained().weight)


def test_photos_without_a_label_have_no_say() -> None:
    features, labels = world(1.0, 1)
    assert not better_head(trained(), (features, labels - 9), world(1.0, 2))
    assert not better_head(trained(), world(1.0, 1), (features, labels - 9))
    with_strangers = torch.cat([features, torch.full((40, 8), 50.0)]), torch.cat([labels, torch.full((40,), -1)])
    one, two = trained(), trained()
    better_head(one, (features, labels), world(1.0, 2))
    better_head(two, with_strangers, world(1.0, 2))
    assert torch.equal(one.weight, two.weight)
