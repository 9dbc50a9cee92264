"""A trunk's weights from a file: those of the file, or a refusal that says what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from schemas.errors import ConfigError
from training.network.weights import load_body, read_weights

torch.set_num_threads(1)
pytestmark = pytest.mark.slow  # timm reads the files


def body() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_weights_are_those_of_the_file(tmp_path: Path, ending: str) -> None:
    state = {name: value + 1 for name, value in body().state_dict().items() if "num_batches" not in name}
    path = tmp_path / f"w.{ending}"
    with_classifier = {**state, "fc.weight": torch.zeros(2, 4)}
    if ending == "pth":
        torch.save({"state_dict": with_classifier}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(with_classifier, path)
    trunk = body()
    load_body(trunk, read_weights(path, "weights"), path.name, "weights", "trunk")
    for name, value in state.items():
        assert torch.equal(trunk.state_dict()[name], value), name


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with pytest.raises(ConfigError, match=r"weights: .*w\.pth is no file"):
        read_weights(path, "weights")
    path.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"weights: w\.pth cannot be read"):
        read_weights(path, "weights")
    state = dict(body().state_dict())
    with pytest.raises(ConfigError, match=r"w\.pth has no 0\.weight: .* name that with trunk"):
        load_body(body(), {k: v for k, v in state.items() if k != "0.weight"}, "w.pth", "weights", "trunk")
    with pytest.raises(ConfigError, match=r"0\.bias is \[9\], but \[4\] in the trunk; check trunk"):
        load_body(body(), {**state, "0.bias": torch.zeros(9)}, "w.pth", "weights", "trunk")
