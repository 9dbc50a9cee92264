"""`groknet data embed`: embed and hash a whole data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import EngineOption, JsonOption, LayoutOption
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, note, progress

_NAMED = 10


def embed(
    folder: Annotated[Path, Parameter(help="Folder of one data set.")],
    /,
    *,
    bundle: Annotated[Path, Parameter(help="Folder of the bundle.")],
    out: Annotated[Path, Parameter(help="Folder for the parts. A later call with the same folder goes on.")],
    reader: LayoutOption = "",
    workers: Annotated[int, Parameter(help="Processes, one core each.", validator=validators.Number(gte=1))] = 2,
    engine: EngineOption = "pool",
    json: JsonOption = False,
) -> Exit:
    """Embed and hash every photo of a data set.

    The folder gets files part-000000.npz of at most 512 photos, each with the arrays paths, boxes, hashes (uint8, the
    most significant bit first) and embeddings (float32 of unit length). A photo that cannot be decoded is named and
    left out. A worker that dies costs its part again, and the results are the same with any number of workers and with
    either engine.

    With --engine ray, all machines of the cluster that RAY_ADDRESS names must see FOLDER, --bundle and --out under the
    same paths. Without RAY_ADDRESS, Ray runs on this machine.

    --json writes {"photos", "parts", "skipped": {path: why}}.
    """
    for what, one in (("folder", folder), ("--bundle", bundle)):
        if not one.is_dir():
            raise CommandError(f"{what} {one}: no such folder", Exit.NOT_FOUND)
    from training.bulk.embed import embed_all
    from training.cleaning.source import read_any

    _, found = read_any(folder, reader)
    skipped, photos, parts = dict(found.skipped), 0, 0
    with progress() as bar:
        task = bar.add_task("photos", total=len(found.rows))
        for report in embed_all(bundle, folder, found.rows, out, workers=workers, engine=engine):
            parts += 1
            photos += report.photos
            skipped |= report.skipped
            bar.advance(task, report.photos + len(report.skipped))
    if json:
        json_line({"photos": photos, "parts": parts, "skipped": skipped})
        return Exit.OK
    for name, why in list(skipped.items())[:_NAMED]:
        note(shown(f"skipped {name}: {why}"))
    if len(skipped) > _NAMED:
        note(f"skipped {len(skipped) - _NAMED} more; --json lists all of them")
    note(f"{photos} photos in {parts} parts in {out}")
    return Exit.OK
