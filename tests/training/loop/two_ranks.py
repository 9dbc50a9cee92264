"""One rank of the two-process test: `python two_ranks.py RANK SIZE FOLDER` writes the gradient of every loss, and of
the trainer's whole objective on the small corpus in `FOLDER/cache`.

Also imported by the test, which computes the same gradients in one process with the whole batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from training import losses
from training.data.corpus import load_corpus
from training.data.frozen_trunk import resized
from training.loop.batch import make_batch
from training.loop.distributed import fair, gather, several
from training.loop.objective import total_loss
from training.loop.state import new_state
from training.recipe import (
    ArcFace,
    DataSet,
    HardCascade,
    HeadSpec,
    Metric,
    MultiLabelArcFace,
    Pairwise,
    Recipe,
    Schedule,
    Softmax,
    Spreading,
    Standard,
)

PHOTOS, WIDTH, PRODUCTS = 12, 5, 4
Loss = Callable[[Tensor, Tensor, "Batch"], Tensor]


class Batch:
    """This rank's rows of one fixed batch; the second half has fewer labels than the first."""

    def __init__(self, rank: int, size: int) -> None:
        draw = torch.Generator().manual_seed(7)
        mine = slice(rank * PHOTOS // size, (rank + 1) * PHOTOS // size)
        self.x = torch.randn(PHOTOS, 6, generator=draw, dtype=torch.float64)[mine]
        self.other = torch.randn(PHOTOS, 6, generator=draw, dtype=torch.float64)[mine]
        self.products = torch.tensor([0, 1, 0, 2, 3, 3, 0, -1, -1, 2, -1, -1])[mine]
        marks = torch.rand(PHOTOS, PRODUCTS, generator=draw) < 0.4
        marks[8:] = False
        self.positives = marks[mine]
        self.numbers = torch.arange(PHOTOS)[mine]
        self.other_network = torch.randn(PHOTOS, 3, generator=draw, dtype=torch.float64)[mine]
        self.memory = nn.functional.normalize(torch.randn(4, WIDTH, generator=draw, dtype=torch.float64))


class Tiny(nn.Module):
    """A linear embedding and class centres."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed = nn.Linear(6, WIDTH, dtype=torch.float64)
        self.centres = nn.Parameter(torch.randn(PRODUCTS, WIDTH, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.embed(x))


def averaged(value: Tensor, counted: Tensor) -> Tensor:
    """A mean over this rank's counted photos as its part of the mean over all ranks' photos."""
    return value * fair(counted.sum()[None].double())[0] if several() else value


def contrastive(first: Tensor, batch: Batch, tiny: Tiny) -> Tensor:
    second = gather(nn.functional.normalize(tiny.embed(batch.other)))
    ids, numbers = gather(batch.products), gather(batch.numbers)
    same = (ids[:, None] == ids[None]) & (ids[:, None] >= 0) | (numbers[:, None] == numbers[None])
    old = torch.zeros(len(ids), len(batch.memory), dtype=torch.bool)
    return losses.contrastive(gather(first), second, temperature=0.3, same=same, memory=batch.memory, same_memory=old)


def by_name(name: str, x: Tensor, batch: Batch, tiny: Tiny) -> Tensor:  # noqa: PLR0911 (one a loss)
    """The named loss of this rank's embeddings `x`, as the trainer computes it."""
    known = batch.products >= 0
    match name:
        case "pairwise":
            return losses.pairwise_double_margin(gather(x), gather(batch.products), negative=(0.1, 1.9))
        case "spreading":
            return losses.spreading(gather(x))
        case "triplet_rank":
            everyone = gather(x)
            return losses.triplet_rank(everyone, everyone.roll(1, 0), everyone.roll(2, 0), 0.2)
        case "contrastive":
            return contrastive(x, batch, tiny)
        case "relational":
            return losses.relational(gather(x), gather(batch.other_network))
        case "softmax":
            return averaged(losses.softmax_loss(x, batch.products), known)
        case "multi_label_softmax":
            return averaged(losses.multi_label_softmax(x[:, :PRODUCTS], batch.positives), batch.positives.any(1))
        case "batch_hard_triplet":
            return losses.batch_hard_triplet(gather(x), gather(batch.products), 0.5)
        case "hard_cascade":
            depths = [x, nn.functional.normalize(tiny.embed(batch.other)), x.roll(1, 1)]
            return losses.hard_cascade([gather(one) for one in depths], gather(batch.products), (1.0, 0.5, 0.2), 1.5)
        case "neck_softmax":
            return averaged(losses.softmax_loss(tiny.embed(batch.x) @ tiny.centres.T, batch.products), known)
        case "arcface":
            return averaged(losses.arcface(x, tiny.centres, batch.products, 8.0, 0.3), known)
        case "multi_label_arcface":
            value = losses.multi_label_arcface(x, tiny.centres, batch.positives, 8.0, 0.3)
            return averaged(value, batch.positives.any(1))
    return losses.standard_pairs(name, gather(x), gather(batch.products))  # type: ignore[arg-type]


NAMES = ["pairwise", "spreading", "triplet_rank", "contrastive", "relational"]
NAMES += ["multi_similarity", "circle", "supervised_contrastive", "triplet_margin", "hard_cascade"]
NAMES += ["batch_hard_triplet", "neck_softmax", "softmax", "multi_label_softmax", "arcface", "multi_label_arcface"]


def gradients(rank: int, size: int) -> dict[str, Tensor]:
    """Gradient of every loss by `NAME.PARAMETER`, averaged over ranks as the trainer's DDP does."""
    batch, out = Batch(rank, size), {}
    for name in NAMES:
        tiny = Tiny()
        model: nn.Module = nn.parallel.DistributedDataParallel(tiny) if size > 1 else tiny
        value = by_name(name, model(batch.x), batch, tiny)
        (value + tiny.centres.sum() * 0).backward()
        out |= {f"{name}.{key}": p.grad.clone() for key, p in tiny.named_parameters() if p.grad is not None}
    return out


def small_recipe() -> Recipe:
    """Every kind of loss on six studio products."""
    studio = DataSet(
        name="studio", reader="studio", product="product", share=4, catalogue=2, identities=6, views=2, held_out=2
    )
    heads = [
        HeadSpec(id="studio.category", column="category", datasets=["studio"]),
        HeadSpec(id="studio.deal", column="product", source="partition", datasets=["studio"], parts=2, repeat=2),
        HeadSpec(id="object", column="imagenet", source="imagenet"),
        HeadSpec(id="query", column="query", source="queries", kind="multi_label", datasets=["studio"]),
    ]
    declared = [
        ArcFace(id="product.arcface"),
        Softmax(id="product.softmax"),
        MultiLabelArcFace(id="query.arcface", head="query", on="hash"),
        Pairwise(id="product.pairs", negative_weight=3.0),
        Spreading(id="spread", on="hash"),
        Standard(id="product.standard", name="multi_similarity"),
        HardCascade(id="product.cascade"),
    ]
    return Recipe(
        name="ranks",
        pretrained=False,
        size=48,
        cache_size=64,
        threads=1,
        datasets=[studio],
        heads=heads,
        losses=declared,
        metric=Metric(memory=32),
        schedule=Schedule(steps=2, warmup=1, small_size=32),
    )


def objective(rank: int, size: int, cache: Path) -> dict[str, Tensor]:
    """Gradients of the trainer's objective by parameter, after a first batch that fills the memory."""
    recipe = small_recipe()
    corpus = load_corpus(recipe, cache, cache)
    state = new_state(recipe, corpus)
    state.network.eval()  # no dropout
    model: nn.Module = nn.parallel.DistributedDataParallel(state.model) if size > 1 else state.model
    pool = np.arange(len(corpus.products))[::2]  # some of the validation's, which have no product
    for step in range(2):
        everyone = pool[step * 8 : step * 8 + 8]
        numbers = everyone[rank * 8 // size : (rank + 1) * 8 // size]
        photos = resized(corpus.pixels(numbers).numpy(), 48)
        out = model(torch.cat([photos, photos.flip(3)]))
        parts = total_loss(recipe, state, make_batch(corpus, numbers, out))
        state.optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
    named = [*state.network.named_parameters(), *state.centres.named_parameters()]
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def main(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meet'}", rank=rank, world_size=size)
    torch.save(gradients(rank, size), folder / f"{rank}.pt")
    torch.save(objective(rank, size, folder / "cache"), folder / f"objective-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
