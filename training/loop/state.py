"""What a run is made of, and what its checkpoint holds."""

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

from engines.files import replacing
from schemas.errors import ConfigError
from training.data.corpus import Corpus
from training.loop.contrastive_memory import Memory
from training.loop.optimiser import build_optimiser
from training.loop.task_weights import TaskWeights
from training.loop.warm_start import warm_start
from training.network.model import BITS, Network, Outputs, current_names
from training.recipe import Code, Contrastive, MultiLabelArcFace, Recipe, Schedule, ToCentres

CHECKPOINT = "checkpoint.pt"
CPU = torch.device("cpu")
CODES = ("embedding", "hash")


class Learner(nn.Module):
    """Network and class centres as one module, so that every parameter's gradient is averaged over ranks."""

    def __init__(self, network: Network, centres: nn.ParameterDict) -> None:
        super().__init__()
        self.network, self.centres = network, centres

    def forward(self, photos: Tensor) -> Outputs:
        """The network's outputs `[n, …]` for photos of any float type `[n, 3, h, w]`, RGB, values from 0 to 255."""
        out: Outputs = self.network(photos)
        return out


@dataclass
class State:
    """Everything of a run that changes with its steps.

    Attributes:
        network: what is trained.
        centres: class centres of the losses that have any, by `centre_key`.
        optimiser: of both.
        memories: what contrastive losses remember, by the loss's id.
        model: what the trainer calls: network and centres, perhaps spread over several processes.
        average: running mean of the network's weights (Polyak & Juditsky 1992), where the recipe asks for it.
        weights: factors of the losses.
        tutor: the frozen tutor, in a run with one.
        peer: the tutor that learns along, in a run of mutual learning.
        step: steps done.
        seconds: spent in steps.
        history: records of all losses.
        scores: step and score on validation photos, as far as the run was judged.
        hardware: what the run computes on, for the card.
        taught_by: the tutor's trunk and run, for the card; empty without a tutor.
    """

    network: Network
    centres: nn.ParameterDict
    optimiser: torch.optim.Optimizer
    memories: dict[str, Memory]
    model: nn.Module
    average: Network | None = None
    weights: TaskWeights = field(default_factory=TaskWeights)
    tutor: nn.Module | None = None
    peer: Peer | None = None
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    hardware: str = ""
    taught_by: str = ""

    def save(self, path: Path) -> None:
        """Replace the checkpoint `path`; a kill leaves the old one."""
        with replacing(path) as part:
            torch.save(self._everything(), part)

    def _everything(self) -> dict[str, Any]:
        state: dict[str, Any] = {"network": self.network.state_dict(), "centres": self.centres.state_dict()}
        state["memories"] = {name: memory.state_dict() for name, memory in self.memories.items()}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if self.peer is not None:
            state["peer"] = self.peer.state._everything()
        numbers = {"step": self.step, "seconds": self.seconds, "history": self.history}
        numbers["weights"], numbers["hardware"] = self.weights.state_dict(), self.hardware
        numbers["tutor"], numbers["scores"] = self.taught_by, self.scores
        return {**state, "optimiser": self.optimiser.state_dict(), **numbers}

    def load(self, path: Path) -> None:
        """Continue where `save` stopped. Checkpoints of earlier versions are understood.

        Raises:
            ConfigError: the run began with another tutor, or without one.
        """
        saved = _current_layout(torch.load(path, map_location="cpu", weights_only=True), self.centres)
        if saved.get("tutor", "") != self.taught_by:
            had = f"began with the tutor {saved['tutor']}" if saved.get("tutor") else "began without a tutor"
            raise ConfigError(f"--resume: {path} {had}; continue with the same --tutor, or train anew")
        self._restore(saved)
        if self.peer is not None:
            self.peer.state._restore(_current_layout(saved["peer"], self.peer.state.centres))

    def _restore(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.centres.load_state_dict(saved["centres"])
        self.optimiser.load_state_dict(saved["optimiser"])
        for name, memory in self.memories.items():
            memory.load_state_dict(saved["memories"][name])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        if "weights" in saved:
            self.weights.load_state_dict(saved["weights"])
        self.step, self.seconds, self.history = saved["step"], saved["seconds"], saved["history"]
        self.scores = [(int(step), float(score)) for step, score in saved.get("scores", [])]

    @property
    def best(self) -> Network:
        """The network to export: the running mean if the recipe keeps one."""
        return self.network if self.average is None else self.average

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the running mean towards the weights. It follows faster in the first steps, when these move far."""
        if self.average is not None:
            share = 1 - min(decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), share)


@dataclass
class Peer:
    """The tutor that learns along with its student: its recipe, its state, and the corpus with the answers of its own
    frozen trunk."""

    recipe: Recipe
    state: State
    corpus: Corpus


def new_state(recipe: Recipe, corpus: Corpus, device: torch.device = CPU) -> State:
    """The state before the first step. A packaged trunk starts at its weights, and the rest at what it knows."""
    torch.manual_seed(recipe.seed)
    network = network_of(recipe, corpus.sizes, recipe.pretrained and not recipe.weights)
    if recipe.weights:
        network.load_trunk(corpus.data / recipe.weights)
    centres = _centres(recipe, corpus)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.bfloat16_trunk = half_precision(recipe.schedule, device)
    centres.to(device)
    if recipe.keeps_trunk:
        network.keep_trunk()
        network.heads.requires_grad_(recipe.schedule.learns != "heads")  # they are fitted at once
    if recipe.starts_from_frozen_trunk or recipe.keeps_trunk:
        spaces = {centre_key(spec.id): spec.on for spec in recipe.all_losses if isinstance(spec, ToCentres)}
        warm_start(network, centres, corpus, spaces, recipe.trunk)
    rest = [p for n, p in network.named_parameters() if not n.startswith("trunk.")] + list(centres.values())
    optimiser = build_optimiser(recipe.schedule, network.trunk.parameters(), rest)
    memories = {
        spec.id: Memory(spec.memory, width_of(recipe, spec.on), device)
        for spec in recipe.all_losses
        if isinstance(spec, Contrastive)
    }
    average = copy.deepcopy(network).eval() if recipe.schedule.average else None
    weights = TaskWeights(frozenset(recipe.weighting.main), recipe.weighting.limit)
    state = State(network, centres, optimiser, memories, Learner(network, centres), average, weights)
    state.hardware = hardware_of(device)
    return state


def network_of(recipe: Recipe, sizes: Mapping[str, int], pretrained: bool) -> Network:
    """The network that a recipe describes. `sizes` are its heads: id → number of labels."""
    return Network(
        recipe.trunk,
        sizes,
        pretrained,
        recipe.schedule.dropout,
        recipe.pooling,
        adapter=recipe.schedule.learns == "adapter",
        size=recipe.size,
        embedding=recipe.embedding,
        attention=recipe.attention,
        cascaded=recipe.is_cascaded,
    )


def width_of(recipe: Recipe, code: Code) -> int:
    """Dimensions of a code."""
    return recipe.embedding if code == "embedding" else BITS


def half_precision(plan: Schedule, device: torch.device) -> bool:
    """Whether the trunk computes in bfloat16."""
    return plan.precision == "bfloat16" or (plan.precision == "auto" and device.type == "cuda")


def hardware_of(device: torch.device) -> str:
    """What a run computes on, for its card."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__.split('+')[0]}"


def load_network(checkpoint: Path, recipe: Recipe, sizes: Mapping[str, int]) -> tuple[Network, dict[str, Any]]:
    """The network that a run of `recipe` exports, in evaluation mode, and everything else in its checkpoint.

    `sizes` are its heads: id → number of labels.

    Raises:
        RuntimeError: the checkpoint is of another network.
    """
    saved: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = network_of(recipe, sizes, pretrained=False)
    network.load_state_dict(current_names(saved.get("average") or saved["network"]))
    return network.eval(), saved


def _centres(recipe: Recipe, corpus: Corpus) -> nn.ParameterDict:
    """Class centres, at random, of every loss that has any."""
    products = max(int(corpus.products.max()) + 1, 1)
    labels = {target.spec.id: len(target.values) for target in corpus.heads}
    centres = nn.ParameterDict()
    for spec in recipe.all_losses:
        if isinstance(spec, ToCentres | MultiLabelArcFace):
            count = labels[spec.head] if isinstance(spec, MultiLabelArcFace) else products
            centres[centre_key(spec.id)] = nn.Parameter(torch.randn(count, width_of(recipe, spec.on)))
    return centres


def centre_key(loss_id: str) -> str:
    """The key of a loss's centres; a parameter's name must not have dots."""
    return f"loss:{loss_id.replace('.', '__')}"


def _current_layout(saved: dict[str, Any], centres: nn.ParameterDict) -> dict[str, Any]:
    """A checkpoint with the names of today.

    Earlier versions called the hash layer `catalyzer`. They kept the `[metric]` table's centres under `embedding` and
    `hash`, the latter also in runs whose hash had no loss, and one memory for both codes.
    """
    names = {code: centre_key(f"{code}.arcface") for code in CODES}
    kept = {names.get(name, name): value for name, value in saved["centres"].items()}
    if names["hash"] in kept and names["hash"] not in centres:  # the optimiser numbers the centres last, in this order
        rest = saved["optimiser"]["param_groups"][1]["params"]
        number = rest.pop(len(rest) - len(kept) + list(kept).index(names["hash"]))
        saved["optimiser"]["state"].pop(number, None)
        del kept[names["hash"]]
    memories = saved.get("memories")
    if memories is None:
        old = saved["memory"]
        shared = {name: old[name] for name in ("numbers", "products", "place")}
        memories = {f"{code}.contrastive": shared | {"codes": old[code]} for code in CODES}
    networks = {name: current_names(saved[name]) for name in ("network", "average") if name in saved}
    return saved | networks | {"centres": kept, "memories": memories}
