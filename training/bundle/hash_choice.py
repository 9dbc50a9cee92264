"""Which hash layer goes into the bundle: a rotation of the leading axes, the layer that was trained with the network,
ITQ, or a layer that is fitted to spread the embeddings.

The last three follow the clusters of the products of training. They spend few bits on the space between these clusters,
where the products lie that come later. A rotation treats all directions alike (`docs/benchmarks/unseen.md`). A
half-whitened one gives the narrow axes more weight, which helps some data sets and harms others
(`docs/benchmarks/search.md`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.bundle.hash_layers import AXES, Floats, bit_statistics, half_whitened_itq, itq, pack, rotated_axes
from training.bundle.spreading_layer import fit_spreading_layer
from training.data.corpus import Corpus
from training.data.frozen_trunk import resized
from training.evaluation.metrics import cosine_distance, hamming, recall
from training.network.model import BITS, Network
from training.recipe import HashLayer

FIT_PHOTOS = 6000
log = logging.getLogger(__name__)


@torch.inference_mode()
def embed(network: Network, corpus: Corpus, numbers: NDArray[np.int64], size: int) -> Floats:
    """Embeddings `float32 [n, 400]` of the photos `numbers [n]` as they are served: whole, without augmentation."""
    network.eval()
    device = network.embed.weight.device

    def seen(some: NDArray[np.int64]) -> torch.Tensor:
        if corpus.keeps_trunk:
            return torch.from_numpy(corpus.frozen.feature[some].astype(np.float32)).to(device)
        return resized(corpus.pixels(some).numpy(), size, device)

    parts = [network(seen(some)).embedding.cpu() for some in np.array_split(numbers, max(1, len(numbers) // 64))]
    return torch.cat(parts).float().numpy()


def fit_embeddings(network: Network, corpus: Corpus, size: int, seed: int = 0, most: int = FIT_PHOTOS) -> Floats:
    """Embeddings `float32 [n, 400]` of the training photos that layers are fitted to, at most so many."""
    pool = np.concatenate(
        [first + s.index("train", False) for first, s in zip(corpus.starts, corpus.sets, strict=True)]
    )
    return embed(network, corpus, np.random.default_rng(seed).permutation(pool)[:most], size)


def hash_layers(network: Network, corpus: Corpus, size: int, seed: int = 0) -> tuple[dict[str, nn.Linear], Floats]:
    """All layers by name, each `[256, 400]`, and the embeddings `float32 [n, 400]` of the training photos behind them.

    The trained layer stays on its device; the others are on the processor. With at most 512 training photos there is
    the trained layer alone.
    """
    fit = fit_embeddings(network, corpus, size, seed)
    layers: dict[str, nn.Linear] = {"trained": network.hash_layer}
    if len(fit) > 2 * BITS:
        layers["itq"] = _linear(*itq(fit, BITS))
        layers["spreading"] = fit_spreading_layer(fit, BITS, seed=seed)
        layers["half_whitened"] = _linear(*rotated_axes(fit, BITS, AXES, seed, power=0.5))
        layers["half_whitened_itq"] = _linear(*half_whitened_itq(fit, BITS, seed=seed))
        layers["rotation"] = _linear(*rotated_axes(fit, BITS, AXES, seed))
    return layers, fit


def choose_hash(
    network: Network, corpus: Corpus, size: int, wanted: HashLayer, seed: int = 0
) -> dict[str, float | str]:
    """Put a layer into `network.hash_layer`, and return what was measured on validation photos, for the card.

    It is the wanted layer, or the trained one if the wanted one cannot be fitted. `best` is the layer with the highest
    Recall@1 of validation photos among catalogue photos, averaged over the data sets that have both. In these data sets
    training saw other photos of the products, except in the studio, whose validation products it never saw.
    """
    layers, fit = hash_layers(network, corpus, size, seed)
    facts: dict[str, float | str] = {}
    recalls: dict[str, list[float]] = {"float": [], **{name: [] for name in layers}}
    for photos, gallery, ids, gallery_ids in validation_neighbours(network, corpus, size):
        recalls["float"].append(recall(cosine_distance(photos, gallery), ids, gallery_ids)["recall_at_1"])
        for name, layer in layers.items():
            codes, theirs = _codes(layer, photos), _codes(layer, gallery)
            recalls[name].append(recall(hamming(codes, theirs), ids, gallery_ids)["recall_at_1"])
    means = {name: float(np.mean(values)) if values else 0.0 for name, values in recalls.items()}
    chosen: str = wanted if wanted in layers else "trained"
    if wanted == "best":
        chosen = max(layers, key=lambda name: means[name])
    network.hash_layer = layers[chosen].to(network.embed.weight.device)
    log.info(chosen_layer_is(chosen, len(fit), wanted))
    facts["hash"] = chosen
    facts |= {f"validation_recall_at_1_{name}": round(value, 4) for name, value in means.items()}
    return facts | {k: round(v, 4) for k, v in bit_statistics(_codes(layers[chosen], fit)).items()}


def chosen_layer_is(chosen: str, photos: int, wanted: str = "") -> str:
    """The sentence that says which hash layer a bundle gets, and why. `photos` are those that layers were fitted to."""
    said = f"hash_layer: the bundle gets `{chosen}`"
    if wanted == "best":
        return f"{said}, which finds the products of most validation photos"
    if wanted not in ("", chosen):
        return f"{said} instead of `{wanted}`, because {photos} training photos are too few to fit a layer to"
    return f"{said}, as the recipe says" if wanted else f"{said}, fitted to {photos} training photos"


def _linear(weight: Floats, bias: Floats) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
    return layer


@torch.inference_mode()
def _codes(layer: nn.Linear, embedding: Floats) -> NDArray[np.uint8]:
    logits: torch.Tensor = layer(torch.from_numpy(embedding).to(layer.weight.device))
    return pack(logits.cpu().numpy())


Neighbours = tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]


def validation_neighbours(network: Network, corpus: Corpus, size: int) -> Iterator[Neighbours]:
    """For every data set with products: embeddings `float32 [n, 400]` of its validation photos and
    `float32 [m, 400]` of its catalogue photos, and the products of both, as numbers `int64 [n]` and `int64 [m]`."""
    for first, s in zip(corpus.starts, corpus.sets, strict=True):
        photos = s.index("val", False)
        gallery = np.concatenate([s.index("val", True), s.index("train", True)])
        if not s.spec.product or not len(photos) or not len(gallery):
            continue
        names = [s.rows[i][s.spec.product] for i in np.concatenate([photos, gallery])]
        ids = np.unique(names, return_inverse=True)[1].astype(np.int64)
        n = len(photos)
        vectors = embed(network, corpus, np.concatenate([photos, gallery]) + first, size)
        yield vectors[:n], vectors[n:], ids[:n], ids[n:]
