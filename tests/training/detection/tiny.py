"""A detector's run small enough for a test: a table of drawn squares and a few studio photos, a trunk at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from training.detection.recipe import BoxSet, DetectorRecipe, DetectorSchedule, NetworkSpec, NmsSpec


def write_squares(folder: Path, count: int = 8) -> None:
    """Photos with one bright square each on noise, and `boxes.csv` in pixels, three photos for training in four."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = ["path,label,xmin,ymin,xmax,ymax,split"]
    for number in range(count):
        pixels = rng.integers(0, 80, (96, 96, 3), np.uint8)
        x, y, side = (int(value) for value in rng.integers((4, 4, 24), (40, 40, 50)))
        pixels[y : y + side, x : x + side] = (240, 40, 40) if number % 2 else (40, 240, 40)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = "test" if number % 4 == 3 else "train"
        rows.append(f"{number}.png,{'red' if number % 2 else 'green'},{x},{y},{x + side},{y + side},{split}")
    (folder / "boxes.csv").write_text("\n".join(rows) + "\n")


def tiny_recipe(steps: int = 3, **network: object) -> DetectorRecipe:
    spec = {"kind": "small", "pretrained": False, "channels": 8, "depth": 1, "frozen": 2} | network
    return DetectorRecipe(
        name="tiny",
        side=64,
        threads=1,
        least_kind=1,
        network=NetworkSpec(**spec),  # type: ignore[arg-type]
        datasets=[
            BoxSet(name="squares", folder="squares", share=3, validation=0.0),
            BoxSet(name="studio", reader="studio", scenes=2, singles=1, held_out=1, share=2),
        ],
        schedule=DetectorSchedule(
            steps=steps, warmup=1, small_side=32, small_share=0.5, average=0.5, record_every=1, trunk_rate=1e-3
        ),
        nms=NmsSpec(score=0.01, most=10),
    )
