"""The network on one page: trunk → GeM → { softmax and multi-label heads, 400-d embedding → 256 hash logits }.

As in GrokNet (KDD 2020), every head sits on the trunk's feature, the losses of similarity share one L2-normalised
embedding, and the hash layer behind the embedding gives logits whose signs are the bits.
A recipe may put attention before GeM, and embeddings on inner stages, which are only trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from schemas.errors import ConfigError
from training.network.attention import Attention
from training.network.depths import ShallowEmbeddings
from training.network.lite_shapes import LITE, AttentionKind
from training.network.trunk import EfficientNetLite, build_trunk
from training.network.weights import load_body, read_weights

EMBEDDING = 400
BITS = 256
Value = TypeVar("Value")


class GeM(nn.Module):
    """Generalised mean over the feature map, `(mean x^p)^(1/p)`, with a learnt p (Radenović et al. 2018). It is always
    computed in float32, because FP16 overflows."""

    def __init__(self, p: float = 2.0, learnt: bool = True) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p), requires_grad=learnt)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` → `float32 [n, c]`."""
        return x.float().clamp(min=1e-4).pow(self.p).mean((2, 3)).pow(1.0 / self.p)


class Average(GeM):
    """The mean over the feature map. Unlike GeM with p = 1 it keeps negative values, which transformers have."""

    def __init__(self) -> None:
        super().__init__(1.0, learnt=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` → `float32 [n, c]`."""
        return x.float().mean((2, 3))


class Adapter(nn.Module):
    """A residual bottleneck on the pooled feature, which changes nothing at first (Gao et al. 2021, CLIP-Adapter)."""

    def __init__(self, features: int, width: int = 64) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(features, width), nn.Linear(width, features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, feature: Tensor) -> Tensor:
        """`[n, f]` → `[n, f]`."""
        changed: Tensor = self.up(F.relu(self.down(feature)))
        return feature + changed


class Outputs(NamedTuple):
    """What one forward pass gives for n photos.

    Attributes:
        feature: `[n, f]`, the pooled trunk, behind the adapter where there is one.
        logits: head id → `[n, labels]`.
        embedding: `[n, 400]`, unit rows.
        bits: `[n, 256]`, hash logits.
        neck: `[n, 400]`, the embedding before its rows get length 1.
        shallow: `[n, 400]` with unit rows for each shallower depth, in a network with a cascade.
    """

    feature: Tensor
    logits: dict[str, Tensor]
    embedding: Tensor
    bits: Tensor
    neck: Tensor
    shallow: tuple[Tensor, ...] = ()


def detached(out: Outputs) -> Outputs:
    """The same values, through which no gradient flows."""
    logits = {head: values.detach() for head, values in out.logits.items()}
    shallow = tuple(one.detach() for one in out.shallow)
    return Outputs(out.feature.detach(), logits, out.embedding.detach(), out.bits.detach(), out.neck.detach(), shallow)


class Network(nn.Module):
    """Trunk, pooling, heads, embedding and hash layer.

    `sizes` gives the heads: id → number of labels. `dropout` is the share of the feature that the heads do not see in
    training. With `bfloat16_trunk` the trunk, which is nine tenths of the work, computes in bfloat16; the rest stays
    float32. With `adapter` a small layer between the pooled trunk and everything else is learnt. `size` is
    that of the photos, which counts for transformers. The recipe's `embedding` and `attention` explain these two. With
    `cascaded` two inner stages of a Lite trunk have embeddings, too.
    """

    def __init__(  # noqa: PLR0917 (the parts of a network)
        self,
        trunk: str,
        sizes: Mapping[str, int],
        pretrained: bool = True,
        dropout: float = 0.0,
        pooling: Literal["gem", "average"] = "gem",
        adapter: bool = False,
        size: int = 224,
        *,
        embedding: int = EMBEDDING,
        attention: AttentionKind = "none",
        cascaded: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.bfloat16_trunk = False
        self.trunk = build_trunk(trunk, pretrained, size)
        if pooling == "gem" and hasattr(getattr(self.trunk, "body", None), "patch_embed"):
            raise ConfigError(
                f'pooling: the tokens of {trunk!r} may be negative, which GeM cannot pool; write pooling = "average"'
            )
        self.attention = None if attention == "none" else Attention(self.trunk.features, attention)
        self.pool = GeM() if pooling == "gem" else Average()
        self.adapter = Adapter(self.trunk.features) if adapter else None
        # module names must not have dots
        self.heads = nn.ModuleDict({_key(k): nn.Linear(self.trunk.features, n) for k, n in sizes.items()})
        self.head_ids = list(sizes)
        self.embed = nn.Linear(self.trunk.features, embedding)
        self.shallow: ShallowEmbeddings | None = None
        if cascaded:
            if not isinstance(self.trunk, EfficientNetLite):
                raise ConfigError(f"losses: a hard_cascade has no stages of {trunk!r}; use {', '.join(LITE)}")
            self.shallow = ShallowEmbeddings([channels for _, channels in self.trunk.taps], embedding)
        self.hash_layer = nn.Linear(embedding, BITS)
        nn.init.orthogonal_(self.hash_layer.weight)
        nn.init.zeros_(self.hash_layer.bias)

    def forward(self, photos: Tensor) -> Outputs:
        """`float [n, 3, h, w]`, RGB, values from 0 to 255; or what `pooled` gave for photos, `float32 [n, f]`."""
        shallow: tuple[Tensor, ...] = ()
        if photos.ndim == 2:
            feature = photos
        else:
            *inner, last = self._stages(photos)
            feature = self.pool(last)
            shallow = self.shallow(inner) if self.shallow is not None else ()
        if self.adapter is not None:
            feature = self.adapter(feature)
        seen = F.dropout(feature, self.dropout, self.training)
        logits = {head: self.head(head)(seen) for head in self.head_ids}
        neck = self.embed(feature)
        embedding = F.normalize(neck)
        return Outputs(feature, logits, embedding, self.hash_layer(embedding), neck, shallow)

    def pooled(self, photos: Tensor) -> Tensor:
        """The pooled trunk `float32 [n, f]` of photos `float [n, 3, h, w]`, before an adapter."""
        feature: Tensor = self.pool(self.maps(photos))
        return feature

    def maps(self, photos: Tensor) -> Tensor:
        """What is pooled: the trunk's map `[n, f, h', w']` of photos `float [n, 3, h, w]`, behind the attention where
        there is one."""
        return self._stages(photos)[-1]

    def _stages(self, photos: Tensor) -> list[Tensor]:
        """`maps`, behind the inner stages of a cascade."""
        with torch.autocast(photos.device.type, torch.bfloat16) if self.bfloat16_trunk else nullcontext():
            found = [self.trunk(photos)] if self.shallow is None else cast(EfficientNetLite, self.trunk).stages(photos)
        if self.attention is not None:
            found[-1] = self.attention(found[-1].float())
        return found

    def load_trunk(self, path: Path) -> None:
        """Put the weights of a file into the trunk. Raises ConfigError if it is not one of this trunk."""
        load_body(self.trunk, read_weights(path, "weights"), path.name, "weights", "trunk")

    def keep_trunk(self) -> None:
        """Keep trunk and pooling as they are: no step changes them."""
        self.trunk.requires_grad_(False)
        self.pool.requires_grad_(False)

    def head(self, head_id: str) -> nn.Linear:
        """The linear layer of a head."""
        return cast(nn.Linear, self.heads[_key(head_id)])

    def train(self, mode: bool = True) -> Network:
        """Training or evaluation mode. Batch norm of a timm trunk stays in evaluation mode in both."""
        super().train(mode)
        for module in self.trunk.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def current_names(state: Mapping[str, Value]) -> dict[str, Value]:
    """A network's state under the names of today. Earlier versions called the hash layer `catalyzer`."""
    return {name.replace("catalyzer.", "hash_layer.", 1): value for name, value in state.items()}


def _key(head: str) -> str:
    return head.replace(".", "__")
