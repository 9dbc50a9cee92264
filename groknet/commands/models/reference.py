"""`groknet reference`: the large network as a bundle, before anybody trained it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from groknet.cli.exits import Exit
from groknet.cli.options import JsonOption
from groknet.cli.terminal import json_line, note


def reference(
    out: Annotated[Path, Parameter(help="Folder of the bundle to make.")],
    /,
    *,
    weights: Annotated[
        str | None,
        Parameter(help="File with the trunk's weights (.safetensors or a torch state dict), or timm; else random."),
    ] = None,
    trunk: Annotated[str, Parameter(help="Backbone, by its name in timm.")] = "resnext101_32x4d",
    size: Annotated[int, Parameter(help="Photos' side in pixels.", validator=Number(gte=32, lte=512))] = 224,
    heads: Annotated[int, Parameter(help="Softmax heads.", validator=Number(gte=1, lte=1000))] = 80,
    json: JsonOption = False,
) -> Exit:
    """Make groknet-resnext101: GrokNet's trunk under 80 heads, embedding and hash, with the weights that you have.

    Without --weights all are random: good for measuring engines, useless for photos; the card says so. A classifier
    of 1,000 ImageNet classes in the file becomes the object head. Then `groknet engine build OUT --backend
    tensorrt_rtx --precision fp16 --out ENGINE` compiles it, and `groknet engine bench` measures it. Needs
    groknet[train].
    """
    from training.bundle.reference import write_reference

    manifest = write_reference(out, trunk, size, weights=weights, heads=heads)
    if json:
        told = {"model_version": manifest.model_version, "epoch": manifest.epoch, "heads": len(manifest.heads)}
        json_line({"bundle": str(out), **told, "weights": manifest.training.notes["weights"]})
    if weights is None:
        note("random weights: what this bundle says of a photo is noise; --weights FILE gives the trunk yours")
    note(f"bundle {out}: {manifest.model_version}, {len(manifest.heads)} heads; see {out / 'card.md'}")
    return Exit.OK
