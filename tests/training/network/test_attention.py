"""Attention against loops over channels and places, and that a new layer changes nothing."""

from __future__ import annotations

import math

import msgspec
import pytest
import torch
from torch import Tensor

from tests.training.tiny import tiny_recipe
from training.bundle.onnx_graph import epoch_of
from training.data.photos import squash
from training.loop.state import network_of
from training.network.attention import Attention
from training.network.lite_shapes import AttentionKind

torch.set_num_threads(1)
KINDS: tuple[AttentionKind, ...] = ("channel", "spatial", "both")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def naive(layer: Attention, x: Tensor) -> Tensor:
    """The same, number by number, of one photo's map `[c, h, w]`."""
    found = []
    if layer.down is not None and layer.up is not None:
        means = [float(channel.mean()) for channel in x]
        hidden = [
            max(0.0, sum(float(w) * m for w, m in zip(row, means, strict=True)) + float(b))
            for row, b in zip(layer.down.weight, layer.down.bias, strict=True)
        ]
        factors = [
            2 * sigmoid(sum(float(w) * m for w, m in zip(row, hidden, strict=True)) + float(b))
            for row, b in zip(layer.up.weight, layer.up.bias, strict=True)
        ]
        found.append(torch.stack([channel * factor for channel, factor in zip(x, factors, strict=True)]))
    if layer.place is not None:
        out = x.clone()
        weight, bias = layer.place.weight[0, :, 0, 0], layer.place.bias
        assert bias is not None
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                at = sum(float(w) * float(v) for w, v in zip(weight, x[:, row, column], strict=True)) + float(bias)
                out[:, row, column] *= 2 * sigmoid(at)
        found.append(out)
    return sum(found[1:], found[0]) / len(found)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_as_the_definition_number_by_number(kind: AttentionKind) -> None:
    torch.manual_seed(3)
    layer = Attention(32, kind)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 32, 3, 4)
    expected = torch.stack([naive(layer, photo) for photo in x])
    assert torch.allclose(layer(x), expected, atol=1e-4)
    assert not torch.allclose(layer(x), x, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_layer_changes_nothing_and_learns(kind: AttentionKind) -> None:
    layer = Attention(32, kind)
    x = torch.randn(2, 32, 3, 3, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(layer(x), x, atol=1e-6)
    layer(x).square().sum().backward()
    last = layer.up if layer.place is None else layer.place
    assert last is not None
    assert last.weight.grad is not None
    assert float(last.weight.grad.abs().sum()) > 0


def test_it_is_on_the_path_to_the_hash_so_it_changes_the_epoch() -> None:
    recipe = msgspec.structs.replace(tiny_recipe(), attention="both", pretrained=False)
    network, preprocess = network_of(recipe, {"kind": 2}, pretrained=False), squash(recipe.size)
    before = epoch_of(network, preprocess)
    with torch.no_grad():
        next(p for name, p in network.named_parameters() if name.startswith("attention.")).add_(1.0)
    assert epoch_of(network, preprocess) != before
