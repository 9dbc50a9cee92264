"""`groknet export`: a bundle from a training checkpoint."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from groknet.exits import CommandError, Exit
from groknet.options import JsonOption
from groknet.terminal import json_line, note
from schemas.manifest import MANIFEST_FILE


def export(
    run: Annotated[Path, Parameter(help="Folder of the training run, with its checkpoint.")],
    bundle: Annotated[Path, Parameter(help="Folder of the bundle; an older bundle there is replaced.")],
    /,
    *,
    recipe: Annotated[Path, Parameter(help="The recipe that the run was trained by.")],
    data: Annotated[Path, Parameter(help="Folder with the data sets' folders, for hash and calibration.")],
    taxonomy: Annotated[Path | None, Parameter(help="Taxonomy file, whose ids stay; else the packaged one.")] = None,
    cache: Annotated[Path | None, Parameter(help="Folder for decoded photos; else RUN/cache.")] = None,
    json: JsonOption = False,
) -> Exit:
    """Choose the hash, calibrate, write manifest, graph, parity vectors and card, and open the result as an engine
    does. Needs groknet[train].
    """
    for what, path in (("run", run), ("--recipe", recipe), ("--data", data), ("--taxonomy", taxonomy)):
        if path is not None and not path.exists():
            raise CommandError(f"{what} {path}: not there", Exit.NOT_FOUND)
    if bundle.exists() and any(bundle.iterdir()) and not (bundle / MANIFEST_FILE).is_file():
        raise CommandError(f"{bundle}: holds something that is no bundle; name another folder", Exit.USAGE)
    from schemas.taxonomy import load_taxonomy
    from training.export import export as write_bundle
    from training.recipe import load_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    command = f"groknet train {recipe} --data DATA --out RUN; groknet export RUN BUNDLE --recipe {recipe} --data DATA"
    manifest = write_bundle(
        load_recipe(recipe),
        data,
        run,
        bundle,
        taxonomy=load_taxonomy(taxonomy) if taxonomy else None,
        cache=cache,
        command=command,
    )
    if json:
        json_line({"bundle": str(bundle), "model_version": manifest.model_version, "epoch": manifest.epoch})
    else:
        note(f"bundle {bundle}: model {manifest.model_version}, epoch {manifest.epoch}")
    return Exit.OK
