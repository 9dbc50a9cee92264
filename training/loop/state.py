"""What a run is made of and what its checkpoint holds."""

from __future__ import annotations

import copy
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schemas.errors import ConfigError
from training.data.corpus import Corpus
from training.loop.contrastive_memory import Memory
from training.loop.optimiser import build_optimiser
from training.loop.task_weights import TaskWeights
from training.loop.warm_start import start_from_teacher
from training.network.model import EMBEDDING, Network, Outputs
from training.recipe import ArcFace, MultiLabelArcFace, Recipe, Schedule

CHECKPOINT = "checkpoint.pt"
CPU = torch.device("cpu")


class Learner(nn.Module):
    """Network and class centres as one module, so that every parameter's gradient is averaged over ranks."""

    def __init__(self, network: Network, centres: nn.ParameterDict) -> None:
        super().__init__()
        self.network, self.centres = network, centres

    def forward(self, photos: Tensor) -> Outputs:
        """As the network's."""
        out: Outputs = self.network(photos)
        return out


@dataclass
class State:
    """What a checkpoint holds, and `model`, what the trainer calls: the learner, perhaps in several processes."""

    network: Network
    centres: nn.ParameterDict
    optimiser: torch.optim.Optimizer
    memory: Memory
    model: nn.Module
    average: Network | None = None  # running mean of the network's weights (Polyak & Juditsky 1992)
    weights: TaskWeights = field(default_factory=TaskWeights)
    tutor: nn.Module | None = None
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    hardware: str = ""
    taught_by: str = ""  # the tutor, if any, as the card names it

    def save(self, path: Path) -> None:
        """Write beside and rename, so that a kill leaves the old checkpoint."""
        part = path.with_suffix(".part")
        state = {"network": self.network.state_dict(), "centres": self.centres.state_dict()}
        state["memory"] = self.memory.state_dict()
        if self.average is not None:
            state["average"] = self.average.state_dict()
        numbers = {"step": self.step, "seconds": self.seconds, "history": self.history}
        numbers["weights"], numbers["hardware"] = self.weights.state_dict(), self.hardware
        numbers["tutor"] = self.taught_by
        torch.save({**state, "optimiser": self.optimiser.state_dict(), **numbers}, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Continue where `save` left off. Raises ConfigError where the run was not begun with this tutor, or none."""
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved.get("tutor", "") != self.taught_by:
            had = f"was begun with the tutor {saved['tutor']}" if saved.get("tutor") else "was begun without a tutor"
            raise ConfigError(f"--resume: {path} {had}; go on as it was begun, or train anew")
        self.network.load_state_dict(saved["network"])
        self.centres.load_state_dict(saved["centres"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.memory.load_state_dict(saved["memory"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        if "weights" in saved:  # checkpoints from before there were any
            self.weights.load_state_dict(saved["weights"])
        self.step, self.seconds, self.history = saved["step"], saved["seconds"], saved["history"]

    @property
    def best(self) -> Network:
        """The network to export: the running mean where the recipe keeps one."""
        return self.network if self.average is None else self.average

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the running mean; it follows faster at first, while the weights still move far."""
        if self.average is not None:
            share = 1 - min(decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), share)


def new_state(recipe: Recipe, corpus: Corpus, device: torch.device = CPU) -> State:
    """A network that starts at what is known: packaged weights, the packaged classifier, the PCA embedding."""
    torch.manual_seed(recipe.seed)
    network = Network(recipe.trunk, corpus.sizes, recipe.pretrained, recipe.schedule.dropout, recipe.pooling)
    centres = _centres(recipe, corpus, {"embedding": EMBEDDING, "hash": network.catalyzer.out_features})
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.bfloat16_trunk = half_precision(recipe.schedule, device)
    centres.to(device)
    if recipe.starts_from_teacher:
        spaces = {spec.id: spec.on for spec in recipe.losses if isinstance(spec, ArcFace)}
        spaces = {centre_key(name): space for name, space in spaces.items()}
        spaces |= {n: n for n in ("embedding", "hash") if n in centres}
        start_from_teacher(network, centres, corpus, spaces, recipe.trunk)
    rest = [p for n, p in network.named_parameters() if not n.startswith("trunk.")] + list(centres.values())
    optimiser = build_optimiser(recipe.schedule, network.trunk.parameters(), rest)
    memory = Memory(recipe.metric.memory, network.catalyzer.out_features, device)
    average = copy.deepcopy(network).eval() if recipe.schedule.average else None
    weights = TaskWeights(frozenset(recipe.weighting.main), recipe.weighting.limit)
    state = State(network, centres, optimiser, memory, Learner(network, centres), average, weights)
    state.hardware = hardware_of(device)
    return state


def half_precision(plan: Schedule, device: torch.device) -> bool:
    """Whether the trunk computes in bfloat16."""
    return plan.precision == "bfloat16" or (plan.precision == "auto" and device.type == "cuda")


def hardware_of(device: torch.device) -> str:
    """What a run computes on, for its card."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__.split('+')[0]}"


def load_network(checkpoint: Path, recipe: Recipe, sizes: Mapping[str, int]) -> tuple[Network, dict[str, Any]]:
    """The network that a run of `recipe` with these heads would export, in evaluation, and what its checkpoint holds.

    Raises RuntimeError where the checkpoint is of another network.
    """
    saved: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = Network(recipe.trunk, sizes, pretrained=False, pooling=recipe.pooling)
    network.load_state_dict(saved.get("average") or saved["network"])
    return network.eval(), saved


def _centres(recipe: Recipe, corpus: Corpus, width: dict[str, int]) -> nn.ParameterDict:
    """Class centres of every loss that has any: by space for the `[metric]` table, by id for declared losses."""
    products = max(int(corpus.products.max()) + 1, 1)
    labels = {target.spec.id: len(target.values) for target in corpus.heads}
    centres = nn.ParameterDict()
    if recipe.metric.arcface:
        for name in ("embedding", "hash"):
            centres[name] = nn.Parameter(torch.randn(products, width[name]))
    for spec in recipe.losses:
        if isinstance(spec, ArcFace | MultiLabelArcFace):
            count = labels[spec.head] if isinstance(spec, MultiLabelArcFace) else products
            centres[centre_key(spec.id)] = nn.Parameter(torch.randn(count, width[spec.on]))
    return centres


def centre_key(loss_id: str) -> str:
    """Where a declared loss keeps its centres: a parameter's name may not hold dots."""
    return f"loss:{loss_id.replace('.', '__')}"
