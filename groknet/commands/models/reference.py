"""`groknet reference`: make a bundle of the large network without training it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from groknet.cli.exits import Exit
from groknet.cli.options import JsonOption
from groknet.cli.terminal import json_line, note


def reference(
    out: Annotated[Path, Parameter(help="Folder for the bundle.")],
    /,
    *,
    weights: Annotated[
        str | None,
        Parameter(
            help="File with weights of the trunk (.safetensors or a torch state dict), or timm. Default: random."
        ),
    ] = None,
    trunk: Annotated[str, Parameter(help="Name of the trunk in timm.")] = "resnext101_32x4d",
    size: Annotated[
        int, Parameter(help="Width and height of photos, in pixels.", validator=Number(gte=32, lte=512))
    ] = 224,
    heads: Annotated[int, Parameter(help="Number of softmax heads.", validator=Number(gte=1, lte=1000))] = 80,
    json: JsonOption = False,
) -> Exit:
    """Make a bundle of groknet-resnext101: GrokNet's trunk with 80 heads, the embedding and the hash.

    Without --weights all weights are random. Such a bundle is good for measuring engines and useless for photos; its
    card says so. If the file contains a classifier of the 1,000 ImageNet classes, it becomes the object head.

    Next, `groknet engine build OUT --backend tensorrt_rtx --precision fp16 --out ENGINE` compiles the bundle, and
    `groknet engine bench` measures the engine. This command needs groknet[train].
    """
    from training.bundle.reference import write_reference

    manifest = write_reference(out, trunk, size, weights=weights, heads=heads)
    if json:
        told = {"model_version": manifest.model_version, "epoch": manifest.epoch, "heads": len(manifest.heads)}
        json_line({"bundle": str(out), **told, "weights": manifest.training.notes["weights"]})
    if weights is None:
        note("random weights: predictions of this bundle are noise; give the weights of a trunk with --weights FILE")
    note(f"bundle {out}: {manifest.model_version}, {len(manifest.heads)} heads; see {out / 'card.md'}")
    return Exit.OK
