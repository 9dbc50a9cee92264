"""From a trained network to `model.onnx`: folded, rounded to half, exported; stored in FP16 and computed in FP32."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from schemas.manifest import Preprocess, encode_preprocess
from training.data.labels import Groups
from training.network.model import BITS, Network
from training.network.trunk import ConvNorm, TimmTrunk

OPSET = 17
HASH_PATH = ("trunk.", "attention.", "pool.", "adapter.", "embed.", "hash_layer.")
EPOCH_NAMES = {"hash_layer.": "catalyzer."}  # in the digest of an epoch, which is older than today's name
SMALL = 16  # tensors with fewer values stay in FP32: GeM's p and shape constants


class ExportedGraph(nn.Module):
    """What a bundle serves: `uint8 [n, h, w, 3]` → one array of probabilities for each head, embedding, packed hash.

    A head with a finer one (`groups`) answers with the mean of two probabilities: its own, and that of the finer head.
    The latter is, for each group of finer labels, √Σ p² over its members, scaled so that all groups sum to 1. A plain
    sum would favour large groups, because label smoothing leaves a little probability on every member. On the demo's
    296 coarse validation photos the head alone scores .932, with sums .929, and with lengths .939.
    """

    weights: Tensor

    def __init__(self, network: Network, groups: Groups) -> None:
        super().__init__()
        self.network = network
        self.groups = groups
        self.register_buffer("weights", torch.tensor([128.0, 64, 32, 16, 8, 4, 2, 1]))

    def forward(self, photos: Tensor) -> tuple[Tensor, ...]:
        """The heads in declared order, `float32 [n, labels]` each; the embedding `float32 [n, 400]`; the hash
        `uint8 [n, 32]`, most significant bit first."""
        out = self.network(photos.permute(0, 3, 1, 2).float())
        own = {head: out.logits[head].float().softmax(1) for head in self.network.head_ids}
        heads = [self._with_finer(head, own) for head in self.network.head_ids]
        bits = (out.bits > 0).float().reshape(-1, BITS // 8, 8)
        packed = (bits * self.weights).sum(2).to(torch.uint8)
        return (*heads, out.embedding, packed)

    def _with_finer(self, head: str, own: Mapping[str, Tensor]) -> Tensor:
        if head not in self.groups:
            return own[head]
        finer, shares = self.groups[head]
        lengths = (own[finer].square() @ shares).sqrt()
        return (own[head] + lengths / lengths.sum(1, keepdim=True)) / 2


def deployable(network: Network, groups: Groups | None = None) -> ExportedGraph:
    """A graph over a copy of `network` in evaluation mode, with folded batch norm. Its weights are rounded to half, but
    still float32 tensors. It takes photos `uint8 [n, height, width, 3]`; `groups` has, by coarse head, the finer head
    and the shares `float32 [finer labels, coarse labels]`."""
    served = copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format)
    served.shallow = None  # embeddings of inner stages are only trained with
    for module in served.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    if isinstance(served.trunk, TimmTrunk):
        served.trunk.body = _with_folded_norms(served.trunk.body)
    with torch.no_grad():
        for parameter in served.parameters():
            if parameter.numel() >= SMALL:
                parameter.copy_(parameter.half().float())
    return ExportedGraph(served, groups or {}).eval()


def _with_folded_norms(body: nn.Module) -> nn.Module:
    """A timm backbone whose batch norms are part of its convolutions, as far as torch can trace it. The exporter does
    the same, but after the weights were rounded to half, so that they would no longer be halves."""
    if not any(type(module) is nn.BatchNorm2d for module in body.modules()):
        return body
    try:
        folded: nn.Module = fuse(body)
    except (TraceError, TypeError, ValueError, NotImplementedError):
        return body
    return folded


def epoch_of(network: Network, preprocess: Preprocess) -> str:
    """The first 12 hex digits of the sha256 of the pre-processing and of every weight between photo and hash."""
    digest = hashlib.sha256(encode_preprocess(preprocess))
    state = {_epoch_name(name): value for name, value in network.state_dict().items() if name.startswith(HASH_PATH)}
    for name, value in sorted(state.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().float().numpy()).tobytes())
    return digest.hexdigest()[:12]


def _epoch_name(name: str) -> str:
    for now, then in EPOCH_NAMES.items():
        name = name.replace(now, then, 1) if name.startswith(now) else name
    return name


def write_graph(graph: ExportedGraph, path: Path, size: int, outputs: list[str], photos: str = "photos") -> None:
    """Write a `deployable` graph as ONNX: the input `photos` is uint8 `[n, size, size, 3]` for any n, and `outputs`
    names the outputs in order."""
    sample = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    axes = {name: {0: "n"} for name in (photos, *outputs)}
    with warnings.catch_warnings():
        # the tracing exporter needs no further package; it warns about shapes, which are fixed here
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (sample,),
            str(path),
            input_names=[photos],
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    store_half(path)


def store_half(path: Path) -> None:
    """Rewrite float32 weights of at least `SMALL` values as FP16 with a Cast behind them, which halves the file.

    Weights that FP16 cannot hold exactly stay as they are: the exporter made them from several rounded ones.
    """
    model = onnx.load(path)
    graph, casts = model.graph, []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL:
            continue
        full = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = full.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), full):
            continue
        name = tensor.name
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"cast.{name}", to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    onnx.save(model, path)


@torch.inference_mode()
def run_torch(graph: ExportedGraph, photos: NDArray[np.uint8], outputs: list[str]) -> dict[str, NDArray[np.generic]]:
    """The graph's outputs for `photos uint8 [n, h, w, 3]` by name, computed by torch: what the parity file holds."""
    return {name: value.numpy() for name, value in zip(outputs, graph(torch.from_numpy(photos)), strict=True)}
