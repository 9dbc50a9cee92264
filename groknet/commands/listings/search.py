"""`groknet search`: find the listings that look like a photo."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.plain_text import shown
from groknet.cli.terminal import json_line, stdout
from groknet.home.config import load_config
from groknet.home.paths import Home, find_home
from groknet.home.running import Http, read_running

_TIMEOUT_S = 60.0  # the service itself answers, or refuses, within half of it


def search(
    photo: Annotated[Path, Parameter(help="A photo file.")],
    /,
    *,
    k: Annotated[int, Parameter(name=["-k", "--k"], help="Number of listings, 1 to 100.")] = 10,
    home: HomeOption = None,
    json: JsonOption = False,
) -> Exit:
    """Find the listings that look like a photo, nearest first. The search service must be running.

    Where no listing is close to the photo, it says so. Likeness is 100 % if nothing differs, and 0 % if the two are no
    more alike than chance.

    --json writes [{"listing_id", "image_id", "distance", "likeness"}, …]. The distance is the number of differing bits,
    of 256, and the likeness is from 0 to 1.
    """
    answer = ask(find_home(home).must_exist(), photo, k)
    found = [
        {name: n[name] for name in ("listing_id", "image_id", "distance", "likeness")} for n in answer["neighbours"]
    ]
    if json:
        json_line(found)
        return Exit.OK
    if found and not answer["close"]:
        stdout().print("nothing here looks much like this photo; the nearest are:")
    table = Table("listing", "photo", "likeness", "what it shows", box=None)
    for row in answer["neighbours"]:
        about = ", ".join(row.get("tags") or ())
        likeness = f"{int(100 * row['likeness'] + 1e-9)} %"
        table.add_row(*map(shown, (row["listing_id"], row["image_id"], likeness, about)))
    stdout().print(table if found else "nothing is indexed yet")
    return Exit.OK


def ask(home: Home, photo: Path, k: int) -> Any:
    """The search service's answer to a photo file. Raises CommandError if it is no plain file or cannot be read, or the
    service refuses."""
    if photo.exists() and not photo.is_file():  # a pipe or a device may never end
        raise CommandError(f"{photo}: not a file; give the file of a photo", Exit.USAGE)
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise CommandError(f"{photo}: cannot be read ({error.strerror})", Exit.NOT_FOUND) from None
    media_type = mimetypes.guess_type(photo.name)[0] or ""
    known = media_type if media_type.startswith("image/") else "application/octet-stream"
    return ask_service(home, data, known, k)


def ask_service(home: Home, data: bytes, media_type: str, k: int) -> Any:
    """The search service's answer to the bytes of a photo. Raises CommandError if it does not answer or refuses."""
    running = read_running(home, "search")
    remedy = f"start it with `groknet run all --home {home.root}`"
    if running is None:
        raise CommandError(f"no search service runs on {home.root}; {remedy}", Exit.NOT_RUNNING)
    try:
        service = Http(running.url, _TIMEOUT_S, next(iter(load_config(home).config.search.tokens), None))
        status, answer = service.request("POST", f"/v1/search?k={k}", data, media_type)
    except OSError as error:
        text = f"the search service does not answer on {running.url} ({error}); {remedy}"
        raise CommandError(text, Exit.NOT_RUNNING) from None
    if status == 200:
        return answer
    detail = answer.get("detail", "") if isinstance(answer, dict) else ""
    code = Exit.NOT_RUNNING if status == 503 else Exit.USAGE if 400 <= status < 500 else Exit.FAILED
    raise CommandError(f"the search service answered {status}: {detail}", code)
