"""What a detector's run is made of, and what its checkpoint holds."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from engines.files import replacing
from schemas.errors import ConfigError
from training.detection.loop.bundle_weights import take_bundle_weights
from training.detection.networks.build import build_detector
from training.detection.networks.interface import DetectorNetwork
from training.detection.recipe import DetectorRecipe
from training.loop.state import hardware_of

CHECKPOINT = "checkpoint.pt"
_CPU = torch.device("cpu")


@dataclass
class DetectorState:
    """Everything of a run that changes with its steps.

    Attributes:
        network: what is trained.
        optimiser: of its parameters, in two groups: the trunk's, then the others'.
        kinds: the kinds that it tells apart, `product` first.
        average: running mean of the weights (Polyak & Juditsky 1992), where the recipe asks for it.
        step: steps done.
        seconds: spent in steps.
        history: records of the losses.
        photos: set → its training photos, for the card.
        hardware: what the run computes on.
        processes: that train side by side, for the card.
    """

    network: DetectorNetwork
    optimiser: torch.optim.Optimizer
    kinds: list[str]
    average: DetectorNetwork | None = None
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    photos: dict[str, int] = field(default_factory=dict)
    hardware: str = ""
    processes: int = 1

    @property
    def best(self) -> DetectorNetwork:
        """The network to export: the running mean if the recipe keeps one."""
        return self.network if self.average is None else self.average

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the running mean towards the weights. It follows faster in the first steps, when these move far."""
        if self.average is not None:
            share = 1 - min(decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), share)
            for mine, theirs in zip(self.average.buffers(), self.network.buffers(), strict=True):
                mine.copy_(theirs)

    def save(self, path: Path) -> None:
        """Replace the checkpoint `path`; a kill leaves the old one."""
        saved: dict[str, Any] = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        if self.average is not None:
            saved["average"] = self.average.state_dict()
        saved |= {"kinds": self.kinds, "step": self.step, "seconds": self.seconds, "history": self.history}
        saved |= {"photos": self.photos, "hardware": self.hardware, "processes": self.processes}
        with replacing(path) as part:
            torch.save(saved, part)

    def load(self, path: Path) -> None:
        """Continue where `save` stopped.

        Raises:
            ConfigError: the run knew other kinds, so its network has another shape.
        """
        saved = self._take(path)
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self.seconds, self.history = saved["step"], saved["seconds"], saved["history"]

    def begin_with(self, start: Path) -> None:
        """Take the network of another run's checkpoint or of a bundle's folder, and nothing else: a new run has rates
        and steps of its own.

        Raises:
            BundleRefused: the folder holds no detector bundle.
            ConfigError: the file is no checkpoint, the run knew other kinds, or the network has another shape.
        """
        if not start.is_dir():
            self._take(start)
            return
        take_bundle_weights(start, self.network, self.kinds)
        if self.average is not None:
            self.average.load_state_dict(self.network.state_dict())

    def _take(self, path: Path) -> dict[str, Any]:
        saved = _checkpoint(path)
        if saved["kinds"] != self.kinds:
            raise ConfigError(f"--resume: {path} knows other kinds of boxes; train anew, or use the data of that run")
        try:
            self.network.load_state_dict(saved["network"])
        except RuntimeError as error:
            text = str(error).splitlines()[0][:200]
            raise ConfigError(f"{path}: a checkpoint of another network ({text}); use the recipe of its run") from None
        if self.average is not None:
            self.average.load_state_dict(saved.get("average") or saved["network"])
        return saved


def _checkpoint(path: Path) -> dict[str, Any]:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved.keys() >= {"kinds", "network"}:
            return dict(saved)
    except (OSError, EOFError, RuntimeError, AttributeError, LookupError, ValueError, pickle.UnpicklingError):
        pass
    raise ConfigError(f"{path}: no checkpoint of a detector; give RUN/{CHECKPOINT} or the folder of a bundle")


def new_detector_state(
    recipe: DetectorRecipe,
    kinds: Sequence[str],
    photos: Mapping[str, int],
    folder: Path = Path(),
    device: torch.device = _CPU,
) -> DetectorState:
    """The state before the first step. `photos` counts the training photos of each set; the file of weights of the
    recipe is relative to `folder`."""
    torch.manual_seed(recipe.seed)
    network = build_detector(recipe.network, len(kinds), recipe.side, folder=folder)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trunk = list(network.trunk_parameters())
    known = {id(parameter) for parameter in trunk}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    plan = recipe.schedule
    groups = [{"params": trunk, "rate": plan.trunk_rate}, {"params": rest, "rate": plan.head_rate}]
    optimiser = torch.optim.AdamW(groups, lr=plan.head_rate, weight_decay=plan.weight_decay)
    average = copy.deepcopy(network).eval() if plan.average else None
    state = DetectorState(network, optimiser, list(kinds), average)
    state.photos, state.hardware = dict(photos), hardware_of(device)
    return state


def load_detector(checkpoint: Path, recipe: DetectorRecipe) -> tuple[DetectorNetwork, dict[str, Any]]:
    """The network that a run of `recipe` exports, in evaluation mode, and everything else in its checkpoint.

    Raises:
        ConfigError: there is no checkpoint, or it is of another network.
    """
    if not checkpoint.is_file():
        raise ConfigError(f"{checkpoint}: no checkpoint; train first with `groknet detector train`")
    saved: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    spec = msgspec.structs.replace(recipe.network, pretrained=False, weights="")
    network = build_detector(spec, len(saved["kinds"]), recipe.side)
    try:
        network.load_state_dict(saved.get("average") or saved["network"])
    except RuntimeError as error:
        text = str(error).splitlines()[0][:200]
        raise ConfigError(f"{checkpoint}: {text}; give the recipe of that run") from None
    return network.eval(), saved


def modules_in_evaluation(network: nn.Module) -> None:
    """Keep batch norm at its published statistics while the rest trains: batches mix photos that look different."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
