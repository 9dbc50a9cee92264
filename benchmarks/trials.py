"""Trials: networks trained by recipes, and their answers for each test photo, so that two networks can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from training import losses
from training.bundle.hash_layers import pack
from training.data.corpus import Corpus, load_corpus
from training.data.frozen_trunk import resized
from training.evaluation.metrics import cosine_distance, hamming, ranked_hits
from training.loop.state import CHECKPOINT, load_network
from training.loop.train import train
from training.network.model import Network
from training.recipe import Recipe

Floats = NDArray[np.float32]
Hits = NDArray[np.bool_]
BATCH = 128
DRAWS = 2000  # of the paired bootstrap; the ends of its interval are then exact to a twentieth of a point


@dataclass(frozen=True)
class Seen:
    """A network's answers for n photos.

    Attributes:
        numbers: `int64 [n]`, the photos' numbers in the corpus.
        feature: `float32 [n, f]`, of the trunk.
        embedding: `float32 [n, 400]`, unit rows.
        code: `uint8 [n, 32]`, the packed hash.
        best: head id → `int64 [n]`, the best label.
    """

    numbers: NDArray[np.int64]
    feature: Floats
    embedding: Floats
    code: NDArray[np.uint8]
    best: dict[str, NDArray[np.int64]]


def device_of(asked: str | None) -> str:
    """The torch device that was asked for, or the GPU if there is one, or the processor."""
    return asked or ("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: str) -> str:
    """The GPU's name, for the head of a report."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "no GPU"


def trained(recipe: Recipe, data: Path, work: Path, name: str, device: str) -> tuple[Network, Corpus]:
    """The network that the run `work/name` exports, and its data. The run is done now unless it is finished already."""
    on = msgspec.structs.replace(recipe, device="cuda" if device.startswith("cuda") else "cpu")
    out = work / name
    train(on, data, out, resume=True, cache=_cache(recipe, work))
    return loaded(on, data, work, out / CHECKPOINT, device)


def loaded(recipe: Recipe, data: Path, work: Path, checkpoint: Path, device: str) -> tuple[Network, Corpus]:
    """The network that a finished run exports, and its data."""
    corpus = load_corpus(recipe, data, _cache(recipe, work), torch.device(device))
    network, _ = load_network(checkpoint, recipe, corpus.sizes)
    return network.to(device), corpus


def minutes_of(run: Path) -> float:
    """Minutes that a finished run's steps took."""
    saved = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)
    return float(saved["seconds"]) / 60


def _cache(recipe: Recipe, work: Path) -> Path:
    return work / f"cache-{recipe.name}"


def frozen(trunk: str, device: str) -> Network:
    """The packaged trunk without training and without heads. Training should beat its `feature`."""
    return Network(trunk, {}).to(device).eval()


@torch.inference_mode()
def hash_logits(layer: nn.Module, embedding: Floats) -> Floats:
    """The hash logits `[n, 256]` that a layer on the processor gives for embeddings `[n, 400]`."""
    logits: Floats = layer(torch.from_numpy(embedding)).numpy()
    return logits


def coded(layer: nn.Module, embedding: Floats) -> NDArray[np.uint8]:
    """The packed signs of the hash logits, `uint8 [n, 32]`, for embeddings `[n, 400]`."""
    return pack(hash_logits(layer, embedding))


@torch.inference_mode()
def look(
    network: Network, corpus: Corpus, numbers: NDArray[np.int64], size: int, *, side_by_side: bool = False
) -> Seen:
    """The network's answers for the photos `numbers [n]`, whole and without augmentation, computed on its device. With
    `side_by_side` the embedding has those of the shallower depths before it (`[n, 1200]`, unit rows)."""
    device = network.embed.weight.device
    parts: list[tuple[Floats, ...]] = []
    best: dict[str, list[NDArray[np.int64]]] = {head: [] for head in network.head_ids}
    for some in np.array_split(numbers, max(1, -(-len(numbers) // BATCH))):
        out = network(resized(corpus.pixels(some).numpy(), size, device))
        code = functional.normalize(torch.cat([*out.shallow, out.embedding], 1)) if side_by_side else out.embedding
        parts.append(tuple(x.float().cpu().numpy() for x in (out.feature, code, out.bits)))
        for head, logits in out.logits.items():
            best[head].append(logits.argmax(1).cpu().numpy())
    feature, embedding, bits = (np.concatenate(one) for one in zip(*parts, strict=True))
    labels = {head: np.concatenate(found) for head, found in best.items()}
    return Seen(numbers, feature, embedding, pack(bits), labels)


@torch.inference_mode()
def embeddings_of(network: Network, photos: NDArray[np.uint8], size: int) -> Floats:
    """Embeddings `float32 [n, 400]` of photos `uint8 [n, h, w, 3]` that are in no corpus."""
    device = network.embed.weight.device
    parts = [
        network(resized(some, size, device)).embedding.float().cpu().numpy()
        for some in np.array_split(photos, max(1, -(-len(photos) // BATCH)))
    ]
    return np.concatenate(parts)


def numbers_of(corpus: Corpus, dataset: str, split: str, catalogue: bool = False) -> NDArray[np.int64]:
    """The numbers of one data set's photos of a split, or of its catalogue photos."""
    place = next(i for i, s in enumerate(corpus.sets) if s.spec.name == dataset)
    return corpus.starts[place] + corpus.sets[place].index(split, catalogue)


def head_hits(seen: Seen, corpus: Corpus) -> dict[str, Hits]:
    """Head id → whether the best label is right, `bool`, over the photos that have a label of the head.

    Heads with several labels a photo are left out.
    """
    hits = {}
    for target in corpus.heads:
        truth = target.targets[seen.numbers]
        if target.spec.kind == "softmax" and target.spec.source != "imagenet" and (truth >= 0).any():
            hits[target.spec.id] = seen.best[target.spec.id][truth >= 0] == truth[truth >= 0]
    return hits


def found_first(photos: Seen, gallery: Seen, ids: NDArray[np.str_], gallery_ids: NDArray[np.str_]) -> dict[str, Hits]:
    """Code (`feature`, `embedding`, `hash`) → `bool [n]`: does the nearest catalogue photo show the product?"""
    mine, theirs = numbered(ids, gallery_ids)
    distances = {
        "feature": cosine_distance(unit(photos.feature), unit(gallery.feature)),
        "embedding": cosine_distance(photos.embedding, gallery.embedding),
        "hash": hamming(photos.code, gallery.code),
    }
    return {name: ranked_hits(distance, mine, theirs)[:, 0] for name, distance in distances.items()}


def numbered(ids: NDArray[np.str_], gallery_ids: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both lists of ids as numbers, `int64`. −1 stands for products that are not in the gallery."""
    known = {name: i for i, name in enumerate(np.unique(gallery_ids))}
    mine, theirs = (np.array([known.get(str(one), -1) for one in some], np.int64) for some in (ids, gallery_ids))
    return mine, theirs


def unit(x: Floats) -> Floats:
    """The rows `[n, d]`, scaled to length 1."""
    scaled: Floats = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    return scaled


def column(corpus: Corpus, numbers: NDArray[np.int64], name: str) -> NDArray[np.str_]:
    """A column of the photos' rows, `[n]`."""
    owner = np.searchsorted(np.array(corpus.starts), numbers, side="right") - 1
    return np.array([corpus.sets[o].rows[n - corpus.starts[o]][name] for o, n in zip(owner, numbers, strict=True)])


def paired_interval(ours: Hits, theirs: Hits, seed: int = 0) -> tuple[float, float, float]:
    """The difference of two shares on the same photos, and the ends of its 95 % interval by paired bootstrap, all in
    points."""
    gap = ours.astype(np.float64) - theirs.astype(np.float64)
    rng = np.random.default_rng(seed)
    means = gap[rng.integers(0, len(gap), (DRAWS, len(gap)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return 100 * float(gap.mean()), 100 * float(low), 100 * float(high)


def refitted_embedding(
    feature: Floats, products: NDArray[np.int64], start: tuple[Floats, Floats], steps: int = 300
) -> tuple[Floats, Floats]:
    """Weight `[d, f]` and bias `[d]` of an embedding that learns on from `start`, on features `[n, f]` that stay.

    ArcFace as in the demo's recipe (scale 32, margin .25), batches of 256, AdamW with a cosine to zero. Centres start
    at the mean of each product's photos. It is the same for the same input.
    """
    draw = torch.Generator().manual_seed(0)
    x, ids = torch.from_numpy(feature), torch.from_numpy(products)
    weight, bias = (torch.from_numpy(one.copy()).requires_grad_() for one in start)
    with torch.no_grad():
        first = functional.normalize(functional.linear(x, weight, bias))
        centres = torch.zeros(int(ids.max()) + 1, first.shape[1]).index_add_(0, ids, first)
    centres.requires_grad_()
    optimiser = torch.optim.AdamW([weight, bias, centres], lr=1e-3, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        some = torch.randint(len(x), (min(256, len(x)),), generator=draw)
        code = functional.normalize(functional.linear(x[some], weight, bias))
        loss = losses.arcface(code, centres, ids[some], 32.0, 0.25)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()
    return weight.detach().numpy(), bias.detach().numpy()
