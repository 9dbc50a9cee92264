"""Everything that a run learns from, numbered across its data sets, and the batches that are drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.batch_order import Stream
from training.data.frozen_trunk import Frozen, no_frozen, run_frozen, run_kept
from training.data.labels import Groups, Targets, build_labels, groups_of, product_ids
from training.data.photos import PhotoSet, load
from training.recipe import DataSet, Recipe


@dataclass(frozen=True)
class Corpus:
    """Everything that a run learns from. Photos are numbered across the data sets, in the recipe's order.

    Attributes:
        sets: the data sets.
        heads: the heads' targets.
        products: `int64 [n]`, the photos' products, −1 for none.
        frozen: what the frozen trunk says of the photos.
        groups: of the heads that name a finer one; they count in the exported graph only.
        centre: `float32 [f]`, the mean of the frozen trunk's features of the training photos.
        keeps_trunk: whether the frozen trunk is that of the network, so that its features are the network's.
        data: the folder of the data sets' folders.
    """

    sets: list[PhotoSet]
    heads: list[Targets]
    products: NDArray[np.int64]
    frozen: Frozen
    groups: Groups
    centre: Tensor
    keeps_trunk: bool = False
    data: Path = Path()
    _members: dict[tuple[str, ...], NDArray[np.bool_]] = field(default_factory=dict, repr=False, compare=False)
    _placed: dict[tuple[int, torch.device], Tensor] = field(default_factory=dict, repr=False, compare=False)

    @property
    def starts(self) -> list[int]:
        """The number of each data set's first photo."""
        return [0, *np.cumsum([len(s.rows) for s in self.sets]).tolist()[:-1]]

    @property
    def sizes(self) -> dict[str, int]:
        """How many labels every head has."""
        return {target.spec.id: len(target.values) for target in self.heads}

    @property
    def learnt(self) -> NDArray[np.int64]:
        """`int64 [n]`: the numbers of the photos that are trained on, catalogue photos included."""
        parts = [
            first + photos.index("train", kind)
            for first, photos in zip(self.starts, self.sets, strict=True)
            for kind in (False, True)
        ]
        return np.sort(np.concatenate(parts))

    def members(self, datasets: tuple[str, ...]) -> NDArray[np.bool_]:
        """`bool [n]` over all photos: which are of these data sets. Every call gives the same array."""
        if datasets not in self._members:
            chosen = [np.full(len(s.rows), s.spec.name in datasets) for s in self.sets]
            self._members[datasets] = np.concatenate(chosen)
        return self._members[datasets]

    def placed(self, values: NDArray[np.generic], device: torch.device) -> Tensor:
        """An array of this corpus as a tensor on `device`, with the same shape and dtype. It is copied once, not with
        every batch."""
        key = id(values), device
        if key not in self._placed:
            self._placed[key] = torch.from_numpy(values).to(device)
        return self._placed[key]

    def photos(self, numbers: NDArray[np.int64], device: torch.device) -> Tensor:
        """The pixels `uint8 [n, 3, h, w]` of the photos `numbers [n]` on `device`, as `pixels` gives them. A GPU keeps
        all photos if they take less than half of its free memory."""
        if device.type != "cuda":
            return self.pixels(numbers).to(device)
        whole = self._placed.get((0, device))
        if whole is None:
            size = sum(s.pixels.nbytes for s in self.sets)
            if 2 * size > torch.cuda.mem_get_info(device)[0]:
                return self.pixels(numbers).to(device)
            whole = torch.cat([torch.from_numpy(np.array(s.pixels)).to(device) for s in self.sets])
            self._placed[0, device] = whole
        return whole[torch.from_numpy(numbers).to(device)]

    def pixels(self, numbers: NDArray[np.int64]) -> Tensor:
        """`uint8 [n, side, side, 3]` of the numbered photos, in that order."""
        starts = np.array(self.starts)
        owner = np.searchsorted(starts, numbers, side="right") - 1
        side = self.sets[0].pixels.shape[1]
        out = np.empty((len(numbers), side, side, 3), np.uint8)
        for i, photos in enumerate(self.sets):
            mine = owner == i
            out[mine] = photos.pixels[numbers[mine] - starts[i]]
        return torch.from_numpy(out)


def load_corpus(recipe: Recipe, data: Path, cache: Path, device: torch.device | None = None) -> Corpus:
    """Decode, label, and run the frozen trunk on `device`. `cache` keeps everything slow.

    Raises:
        ConfigError: the data do not fit the recipe.
    """
    sets = load(recipe, data, cache)
    place = device or torch.device("cpu")
    if recipe.keeps_trunk:
        frozen = run_kept(sets, recipe, data, cache, place)
    elif recipe.needs_frozen_trunk:
        frozen = run_frozen(sets, recipe.size, cache, recipe.frozen_trunk, place)
    else:
        frozen = no_frozen(sets)
    corpus = Corpus(
        sets, build_labels(recipe, sets), product_ids(sets), frozen, {}, torch.empty(0), recipe.keeps_trunk, data
    )
    mean = frozen.feature[corpus.learnt].mean(0, dtype=np.float64)
    groups = groups_of(corpus.heads, corpus.learnt)
    return replace(corpus, groups=groups, centre=torch.from_numpy(mean.astype(np.float32)))


def batches(recipe: Recipe, corpus: Corpus, start: int, rank: int = 0, ranks: int = 1) -> Iterator[NDArray[np.int64]]:
    """Endless batches of photo numbers, `int64 [n]`, with a fixed share of each data set.

    `start` is the number of steps that are done already. Rank r of n takes batches r, r + n, …, so that n batches
    together are one step.
    """
    streams: list[Stream] = []
    for seed, (first, photos) in enumerate(zip(corpus.starts, corpus.sets, strict=True)):
        spec: DataSet = photos.spec
        for catalogue, share in ((False, spec.share), (True, spec.catalogue)):
            index = photos.index("train", catalogue) + first
            if share and len(index):
                products = corpus.products[index] if spec.together > 1 and not catalogue else None
                streams.append(
                    Stream(index, share, recipe.seed * 1000 + seed * 2 + int(catalogue), products, spec.together)
                )
    step = start * ranks + rank
    while True:
        yield np.concatenate([stream.slice(step) for stream in streams])
        step += ranks
