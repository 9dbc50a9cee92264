"""`groknet drift`: report how far the answers of the last days are from the bundle's baseline."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import JsonOption
from groknet.cli.terminal import json_line, note

app = App(name="drift", help="Report whether the answers of the model drift.", help_format="plaintext")


@app.command
def report(
    *,
    prometheus: Annotated[str, Parameter(help="Address of Prometheus.")] = "http://127.0.0.1:9090",
    out: Annotated[Path, Parameter(help="HTML file to write.")] = Path("drift.html"),
    days: Annotated[
        float, Parameter(help="Length of the period that ends now.", validator=Number(gt=0, lte=366))
    ] = 7.0,
    job: Annotated[str, Parameter(help="Job of the workers in Prometheus.")] = "groknet",
    json: JsonOption = False,
) -> Exit:
    """Write a page on drift: answers of each head against the bundle's baseline, kinds of photos, searches, alerts.

    All figures come from Prometheus, which must scrape the target list of `groknet run all`. The bundle needs a
    baseline (`groknet bundle baseline`). The page has no photos and no listing. Run it once a week, for example with
    cron.

    --json writes {"out", "photos", "heads": {head: {"label": psi, "score": psi}}, "nothing_applies", "searches",
    "no_close_neighbour", "alerts": {alert: share of the time}}.
    """
    if not out.absolute().parent.is_dir():
        raise CommandError(f"--out {out}: its folder does not exist", Exit.NOT_FOUND)
    if not prometheus.startswith(("http://", "https://")):
        raise CommandError(f"--prometheus {prometheus}: write an address such as http://127.0.0.1:9090", Exit.USAGE)
    if '"' in job or "\\" in job:
        raise CommandError(f"--job {job}: a name without quotes and backslashes", Exit.USAGE)
    from engines.files import write_file
    from groknet.drift.history import Prometheus, read_drift
    from groknet.drift.page import FEW, drift_page

    found = read_drift(Prometheus(prometheus), job, time.time(), days)
    if not found.heads:
        text = f"{prometheus} has no answers of job {job} with a baseline in {days:g} days"
        raise CommandError(
            f"{text}; scrape the workers, and give the bundle one: `groknet bundle baseline`", Exit.NOT_FOUND
        )
    write_file(out, drift_page(found).encode())
    if json:
        heads: dict[str, dict[str, float]] = {}
        for one in found.heads:
            heads.setdefault(one.head, {})[one.of] = round(one.psi, 4)
        told = {"out": str(out), "photos": round(found.photos), "heads": heads, "searches": round(found.searches)}
        shares = {"nothing_applies": found.nothing_applies, "no_close_neighbour": found.no_close}
        json_line({**told, **shares, "alerts": found.alerts})
    worst = found.heads[0]
    few = f"; too few to judge, {FEW} are needed" if found.photos < FEW else ""
    note(f"report {out}: {found.photos:,.0f} photos{few}; largest PSI {worst.psi:.2f} ({worst.head}, {worst.of})")
    return Exit.OK
