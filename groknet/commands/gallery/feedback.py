"""`groknet feedback`: export what people judged, and forget what is kept."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from sqlite3 import DatabaseError
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.terminal import json_line, note, stdout
from groknet.commands.gallery.searches import kept_searches
from groknet.gallery.judgements import export_judgements
from groknet.home.config import load_config
from groknet.home.epochs import in_force
from groknet.home.paths import find_home
from groknet.run.open_back_ends import open_store
from schemas.errors import ConfigError, Transient
from schemas.manifest import load_manifest
from workers.search.kept.ledger import FILE


def export(
    out: Annotated[Path, Parameter(help="Folder to write. It must not exist.")],
    /,
    *,
    home: HomeOption = None,
    json: JsonOption = False,
) -> Exit:
    """Export judgements of search results and of labels as training data.

    pairs.csv has two photos in each row, and whether people say that they show the same product (1 or 0). labels.csv is
    a data set that training reads: photos with the labels and products that people confirmed. wrong.csv has the labels
    that people refused. Photos of searches are small copies, and there are only some if search.keep is photos. Photos
    of listings are the thumbnails of the store.

    Look at what strangers judged before you train on it: `groknet data check FOLDER`.

    --json writes {"counts": {…}, "left_out": {reason: n}}.
    """
    if out.exists():
        raise CommandError(f"{out}: exists already; name a new folder", Exit.USAGE)
    loaded = load_config(find_home(home).must_exist())
    with closing(kept_searches(loaded)) as ledger, open_store(loaded) as store:
        manifest = load_manifest(Path(in_force(loaded, store).config.engine.bundle))
        done = export_judgements(ledger, store, manifest, out)
    if json:
        json_line({"counts": done.counts, "left_out": done.left_out})
        return Exit.OK
    table = Table("", "written", box=None)
    for name, count in done.counts.items():
        table.add_row(name, f"{count:,}")
    stdout().print(table)
    for why, count in done.left_out.items():
        note(f"left out: {count} ({why.replace('_', ' ')})")
    return Exit.OK


def forget(*, home: HomeOption = None) -> Exit:
    """Delete all kept searches and judgements of this home, with their photos, now.

    It works while a search service runs. That nothing is kept is no error. Exports are not deleted.
    """
    loaded = load_config(find_home(home).must_exist())
    path = loaded.home.root / FILE
    if not path.exists():
        print(f"nothing is kept: there is no {path}")
        return Exit.OK
    try:
        with closing(kept_searches(loaded)) as ledger:
            count = ledger.forget()
    except Transient as error:
        raise CommandError(f"not everything is deleted yet: {error}", Exit.NOT_RUNNING) from None
    except (ConfigError, DatabaseError) as error:
        told = str(error).partition(";")[0]
        text = f"{told}; so nothing was deleted. Stop the search services of this home, and delete {path}*"
        raise CommandError(text, Exit.FAILED) from None
    print(f"{count} kept searches and judgements are deleted")
    return Exit.OK
