"""Which hash layer goes into the bundle: the one trained with the network, or ITQ, whichever keeps more neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from training.corpus import Corpus
from training.evaluation.metrics import cosine_distance, hamming, recall
from training.hashing import Floats, bit_statistics, itq, pack
from training.model import BITS, Network
from training.teacher import resized

FIT_PHOTOS = 4000


@torch.inference_mode()
def embed(network: Network, corpus: Corpus, numbers: NDArray[np.int64], size: int) -> Floats:
    """Embeddings `[n, 400]` of the numbered photos as they will be served: whole, without augmentation."""
    network.eval()
    parts = [
        network(resized(corpus.pixels(some).numpy(), size)).embedding
        for some in np.array_split(numbers, max(1, len(numbers) // 64))
    ]
    return torch.cat(parts).float().numpy()


def choose_hash(network: Network, corpus: Corpus, size: int, seed: int = 0) -> dict[str, float | str]:
    """Put the better layer into `network.catalyzer`; returns what was measured on the validation photos.

    ITQ is fitted to training photos. The judge is Recall@1 of validation photos → catalogue pictures, averaged over
    the data sets that have both: products seen in training (their other photos) and, in the studio, never seen ones.
    """
    rng = np.random.default_rng(seed)
    pool = np.concatenate(
        [first + s.index("train", False) for first, s in zip(corpus.starts, corpus.sets, strict=True)]
    )
    fit = embed(network, corpus, rng.permutation(pool)[:FIT_PHOTOS], size)
    layers = {"trained": (network.catalyzer.weight.detach().numpy(), network.catalyzer.bias.detach().numpy())}
    if len(fit) > 2 * BITS:
        layers["itq"] = itq(fit, BITS)
    facts: dict[str, float | str] = {}
    recalls: dict[str, list[float]] = {"float": [], **{name: [] for name in layers}}
    for photos, gallery, ids, gallery_ids in _validation(network, corpus, size):
        recalls["float"].append(recall(cosine_distance(photos, gallery), ids, gallery_ids)["recall_at_1"])
        for name, (weight, bias) in layers.items():
            codes, theirs = pack(photos @ weight.T + bias), pack(gallery @ weight.T + bias)
            recalls[name].append(recall(hamming(codes, theirs), ids, gallery_ids)["recall_at_1"])
    means = {name: float(np.mean(values)) if values else 0.0 for name, values in recalls.items()}
    chosen = max(layers, key=lambda name: means[name])
    weight, bias = layers[chosen]
    with torch.no_grad():
        network.catalyzer.weight.copy_(torch.from_numpy(weight))
        network.catalyzer.bias.copy_(torch.from_numpy(bias))
    facts["hash"] = chosen
    facts |= {f"validation_recall_at_1_{name}": round(value, 4) for name, value in means.items()}
    return facts | {k: round(v, 4) for k, v in bit_statistics(pack(fit @ weight.T + bias)).items()}


Neighbours = tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]


def _validation(network: Network, corpus: Corpus, size: int) -> Iterator[Neighbours]:
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
