"""`groknet doctor`: what is installed, reachable and missing, with the remedy."""

from __future__ import annotations

from rich.text import Text

from groknet.cli.exits import Exit
from groknet.cli.options import BundleOption, HomeOption, JsonOption
from groknet.cli.terminal import json_line, stdout
from groknet.diagnosis.check import Check
from groknet.diagnosis.installation_checks import all_checks
from groknet.home.paths import find_home

_STYLE = {"ok": "green", "note": "yellow", "failed": "red"}


def doctor(*, home: HomeOption = None, bundle: BundleOption = None, json: JsonOption = False) -> Exit:
    """Check Python, packages, configuration, bundle, stream, store, lag, disk, ports and workers; changes nothing.

    A check for each topic that taggers read says how many events wait, and for how long. It fails when an event, or a
    retry whose time has come, has waited for more than a minute, unless the taggers hold: then stream or store is
    away, and the tagger's check says since when and why. A tagger that its supervisor has given up is named with the
    reason.

    Exit code 1 when a check failed; a note (an extra that is not installed, a worker that does not run) is no
    failure. --json writes one line a check: {"check", "state", "detail", "remedy"}.
    """
    checks: list[Check] = []
    for check in all_checks(find_home(home), bundle):
        checks.append(check)
        if json:
            json_line(check)
        else:
            remedy = f"  → {check.remedy}" if check.remedy else ""
            text = Text(f"{check.state:<6} ", _STYLE[check.state])
            stdout().print(text.append(f"{check.check}: {check.detail}{remedy}", "default"))
    return Exit.FAILED if any(check.state == "failed" for check in checks) else Exit.OK
