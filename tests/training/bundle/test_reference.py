"""ResNeXt-101 32×4d as a bundle: its size and cost counted twice, its graph equal to torch, weights that are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from engines.recognition import build_engine, load_bundle
from engines.recognition.bundles.bundle import Bundle
from schemas.errors import ConfigError
from training.bundle.reference import HEADS, TRUNK, write_reference
from training.network.trunk import build_trunk

pytestmark = pytest.mark.slow
SMALL = {"trunk": "resnet18", "size": 64, "heads": 20}


def by_hand() -> tuple[int, int]:
    """Parameters and multiply-adds at 224 pixels of ResNeXt-101 32×4d (Xie et al. 2017, table 1): four stages of
    3, 4, 23 and 3 blocks 1×1, 3×3 in 32 groups, 1×1, each convolution with a scale and a shift a channel."""
    convolutions = [(3, 64, 7, 1, 112)]  # channels in and out, kernel, groups, side of the output
    inputs, side = 64, 56
    for stage, repeats in enumerate((3, 4, 23, 3)):
        width, outputs = 128 << stage, 256 << stage
        for block in range(repeats):
            stride = 2 if block == 0 and stage > 0 else 1
            convolutions.append((inputs, width, 1, 1, side))
            side //= stride
            convolutions.append((width, width, 3, 32, side))
            convolutions.append((width, outputs, 1, 1, side))
            if block == 0:
                convolutions.append((inputs, outputs, 1, 1, side))
            inputs = outputs
    weights = [a // groups * b * kernel**2 for a, b, kernel, groups, _ in convolutions]
    parameters = sum(weights) + sum(2 * c[1] for c in convolutions)
    return parameters, sum(w * c[4] ** 2 for w, c in zip(weights, convolutions, strict=True))


def by_hooks(trunk: nn.Module, size: int) -> int:
    """Multiply-adds that the convolutions of a forward do; on torch's meta device, which computes shapes alone."""
    counted = []

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counted.append(output.numel() * module.weight[0].numel())

    handles = [module.register_forward_hook(count) for module in trunk.modules()]
    trunk(torch.empty(1, 3, size, size, device="meta"))
    for handle in handles:
        handle.remove()
    return sum(counted)


def test_parameters_and_multiply_adds() -> None:
    with torch.device("meta"):
        trunk = build_trunk(TRUNK, pretrained=False)
    parameters = sum(p.numel() for p in trunk.parameters())
    multiply_adds = by_hooks(trunk, 224)
    assert (parameters, multiply_adds) == by_hand()
    assert round(parameters / 1e6, 1) == 42.1
    assert round(multiply_adds / 1e9, 1) == 8.0
    assert trunk.features == 2048


@pytest.fixture(scope="module")
def resnext(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("reference") / "groknet-resnext101"
    write_reference(folder)
    return load_bundle(folder)


def test_onnx_equals_torch(resnext: Bundle) -> None:
    """What torch computed at export, in every output, against ONNX Runtime on the file."""
    session = ort.InferenceSession(str(resnext.model_path), providers=["CPUExecutionProvider"])
    names = list(resnext.outputs)
    found = dict(zip(names, session.run(names, {resnext.manifest.input: resnext.photos}), strict=True))
    for name in names:
        expected = resnext.expected[name]
        if name == resnext.manifest.hash.output:
            assert np.bitwise_count(found[name] ^ expected).sum() <= resnext.manifest.parity.hash_bits
            continue
        assert np.abs(found[name] - expected).max() <= 1e-4, name
        np.testing.assert_allclose(found[name], expected, rtol=1e-2, atol=1e-5)
    embedding = resnext.expected[resnext.manifest.embedding.output]
    assert np.ptp(embedding, axis=0).max() > 1e-2  # photos differ: not a constant that would be equal anyhow


def test_eighty_heads_and_a_card_that_warns(resnext: Bundle) -> None:
    manifest = resnext.manifest
    assert manifest.name == "groknet-resnext101"
    assert len(manifest.heads) == HEADS == 80
    assert (manifest.heads[0].id, len(manifest.heads[0].labels)) == ("object", 1000)
    assert {head.kind for head in manifest.heads} == {"softmax"}
    assert len({head.id for head in manifest.heads}) == 80
    card = (resnext.folder / "card.md").read_text()
    assert "**RANDOM WEIGHTS. NOTHING HERE WAS TRAINED" in card
    assert "42.1 M parameters" in card
    assert "card.md" in manifest.files


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """ResNet-18's weights as timm names them, with its 1,000-class layer."""
    import timm  # seconds, and the collection of all tests would wait for it

    torch.manual_seed(7)
    return dict(timm.create_model("resnet18", pretrained=False).state_dict())


@pytest.mark.parametrize("wrapped", [False, True])
def test_given_weights_are_those_that_answer(tmp_path: Path, state: dict[str, Tensor], wrapped: bool) -> None:
    """Object probabilities are those of timm's own model with a generalised mean in place of the average."""
    import timm

    path, folder = tmp_path / "weights.pth", tmp_path / "bundle"
    prefixed = {f"module.{name}": value for name, value in state.items()}
    torch.save({"state_dict": prefixed, "epoch": 3} if wrapped else state, path)
    write_reference(folder, **SMALL, weights=str(path))
    bundle = load_bundle(folder)
    model = timm.create_model("resnet18", pretrained=False).eval()
    model.load_state_dict(state)
    mean, std = (torch.tensor(model.default_cfg[key]).view(3, 1, 1) * 255 for key in ("mean", "std"))
    photos = torch.from_numpy(bundle.photos).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        feature = model.forward_features((photos - mean) / std).clamp(min=1e-4).pow(2).mean((2, 3)).sqrt()
        expected = model.fc(feature).softmax(1).numpy()
    np.testing.assert_allclose(bundle.expected["head.object"], expected, rtol=0.1, atol=1e-4)  # weights in half
    card = (folder / "card.md").read_text()
    assert "weights.pth, sha256" in card
    assert "the `object` head has its classifier" in card
    build_engine(folder).close()


def test_weights_without_a_classifier(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({n: v for n, v in state.items() if not n.startswith("fc.")}, tmp_path / "w.pth")
    write_reference(tmp_path / "bundle", **SMALL, weights=str(tmp_path / "w.pth"))
    assert "all heads are **RANDOM**" in (tmp_path / "bundle" / "card.md").read_text()


def test_what_cannot_be_used_is_said(tmp_path: Path, state: dict[str, Tensor]) -> None:
    folder, path = tmp_path / "bundle", tmp_path / "w.pth"
    torch.save({n: v for n, v in state.items() if n != "layer4.1.conv2.weight"}, path)
    with pytest.raises(ConfigError, match=r"w\.pth has no layer4\.1\.conv2\.weight.*--trunk"):
        write_reference(folder, **SMALL, weights=str(path))
    torch.save(state | {"conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(ConfigError, match=r"conv1\.weight is \[64, 3, 3, 3\], but \[64, 3, 7, 7\] in the trunk"):
        write_reference(folder, **SMALL, weights=str(path))
    path.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"w\.pth cannot be read"):
        write_reference(folder, **SMALL, weights=str(path))
    with pytest.raises(ConfigError, match="is no file"):
        write_reference(folder, **SMALL, weights=str(tmp_path / "none.pth"))
    assert list(tmp_path.iterdir()) == [path]
    folder.mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        write_reference(folder, **SMALL)
