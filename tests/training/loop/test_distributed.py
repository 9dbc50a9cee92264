"""Two processes with half a batch each have the gradient of one process with all of it, for every loss."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # seconds of work; the rest is for machines that do other things besides
]


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


two_ranks = _load("two_ranks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both ranks have written their gradients."""
    folder = tmp_path_factory.mktemp("ranks")
    two_ranks.load_corpus(two_ranks.small_recipe(), folder, folder / "cache")
    script = Path(__file__).with_name("two_ranks.py")
    command = [sys.executable, "-W", "ignore", str(script)]
    started = [
        subprocess.Popen([*command, str(rank), "2", str(folder)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
        for rank in range(2)
    ]
    assert [process.wait(timeout=800) for process in started] == [0, 0]
    return folder


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, torch.Tensor]]:
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, torch.Tensor]:
    torch.set_num_threads(1)
    found: dict[str, torch.Tensor] = two_ranks.gradients(0, 1)
    return found


@pytest.mark.parametrize("name", two_ranks.NAMES)
def test_gradient_of_two_ranks_is_that_of_one(
    name: str, both: list[dict[str, torch.Tensor]], alone: dict[str, torch.Tensor]
) -> None:
    for key in (f"{name}.embed.weight", f"{name}.embed.bias", f"{name}.centres"):
        for rank in both:
            # standard losses of the library may sum in another order
            assert torch.allclose(rank[key], alone[key], rtol=1e-6, atol=1e-9), key
    assert alone[f"{name}.embed.weight"].abs().max() > 1e-6


def test_the_trainers_objective_has_the_gradient_of_one_process(folder: Path) -> None:
    torch.set_num_threads(1)
    alone = two_ranks.objective(0, 1, folder / "cache")
    ranks = [torch.load(folder / f"objective-{rank}.pt") for rank in range(2)]
    assert set(ranks[0]) == set(alone)
    assert {name.split(".")[0] for name in alone} >= {
        "trunk",
        "pool",
        "heads",
        "embed",
        "hash_layer",
        "shallow",
        "loss:hash__arcface",
    }
    for name, gradient in alone.items():
        largest = float(gradient.abs().max())
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        # float32 sums in another order, through sixteen blocks
        assert float((ranks[0][name] - gradient).abs().max()) <= 2e-3 * largest + 1e-6, name
