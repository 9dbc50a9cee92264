"""`groknet export`: make a bundle from a training run, or convert a bundle for phones."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import JsonOption
from groknet.cli.terminal import json_line, note
from groknet.commands.models.training_runs import RECIPE, recall
from schemas.manifest import MANIFEST_FILE


def export(
    run: Annotated[Path, Parameter(help="Folder of the training run; with --phone, of a bundle.")],
    /,
    out: Annotated[Path, Parameter(help="Folder for the bundle. An older bundle in it is replaced.")],
    *,
    phone: Annotated[bool, Parameter(negative=(), help="Convert an FP32 bundle to ncnn, into a new folder.")] = False,
    recipe: Annotated[Path | None, Parameter(help="Recipe file. Default: the recipe of the run.")] = None,
    data: Annotated[Path | None, Parameter(help="Folder with the data sets. Default: that of the run.")] = None,
    taxonomy: Annotated[
        Path | None, Parameter(help="Taxonomy file whose ids are kept. Default: the packaged one.")
    ] = None,
    cache: Annotated[Path | None, Parameter(help="Folder for decoded photos. Default: that of the run.")] = None,
    json: JsonOption = False,
) -> Exit:
    """Make a bundle from a training run, or convert a bundle for phones.

    The command chooses the hash and calibrates on validation photos. It writes the graph, the manifest, the parity
    photos, and a card with the accuracy on the test split. Finally it opens the bundle as an engine does. This
    needs groknet[train] and the data of the run.

    `groknet export BUNDLE --out FOLDER --phone` writes model.ncnn.param, model.ncnn.bin, the manifest with the labels,
    and phone.json, which describes inputs and outputs. It fails if the outputs of ncnn differ from those of the bundle.
    This needs groknet[phone,train] and no data.
    """
    if phone:
        given = {"--recipe": recipe, "--data": data, "--taxonomy": taxonomy, "--cache": cache}
        return _phone(run, out, [name for name, value in given.items() if value is not None], json)
    if not run.is_dir():
        raise CommandError(f"{run}: no such run", Exit.NOT_FOUND)
    known = recall(run)
    recipe = recipe or run / RECIPE
    data = data or (Path(known.data) if known else None)
    cache = cache or (Path(known.cache) if known else None)
    if data is None:
        raise CommandError(f"{run} does not say what it was trained on; give --data and --recipe", Exit.USAGE)
    for what, path in (("--recipe", recipe), ("--data", data), ("--taxonomy", taxonomy)):
        if path is not None and not path.exists():
            raise CommandError(f"{what} {path}: not there", Exit.NOT_FOUND)
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
        raise CommandError(f"--out {out}: holds something that is no bundle; name another folder", Exit.USAGE)
    from schemas.taxonomy import load_taxonomy
    from training.bundle.export import export as write_bundle
    from training.recipe import load_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    loaded = load_recipe(recipe)
    name = f"{loaded.name}.toml" if recipe.parent == run else recipe.name
    manifest = write_bundle(
        loaded,
        data,
        run,
        out,
        taxonomy=load_taxonomy(taxonomy) if taxonomy else None,
        cache=cache,
        recipe_file=name,
        as_tutor=bool(known and known.tutor),
    )
    if json:
        json_line({"bundle": str(out), "model_version": manifest.model_version, "epoch": manifest.epoch})
    else:
        note(f"bundle {out}: model {manifest.model_version}, epoch {manifest.epoch}")
    return Exit.OK


def _phone(bundle: Path, out: Path, unused: list[str], json: bool) -> Exit:
    if unused:
        raise CommandError(f"{', '.join(unused)}: not with --phone, which converts a bundle as it is", Exit.USAGE)
    if not bundle.is_dir():
        raise CommandError(f"{bundle}: no such bundle", Exit.NOT_FOUND)
    if not (bundle / MANIFEST_FILE).is_file():
        raise CommandError(f"{bundle} is no bundle; export the run first, then its bundle with --phone", Exit.USAGE)
    from training.bundle.phone import export_phone

    made = export_phone(bundle, out)
    size = sum(path.stat().st_size for path in out.iterdir())
    if json:
        json_line({"folder": str(out), "model_version": made.model_version, "epoch": made.epoch, "bytes": size})
    else:
        note(f"{out}: {made.model_version} for ncnn, {size / 1e6:.1f} MB, parity kept")
    return Exit.OK
