"""`groknet doctor`: check what is installed and what runs, and name the remedy for each problem."""

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
    """Check Python, packages, configuration, bundle, detector, stream, store, lag, disk, ports and workers.

    It changes nothing.

    For each topic that taggers read, a check says how many events wait, and for how long. It fails when an event, or a
    retry that is due, has waited for more than a minute. It does not fail while the taggers hold, because then the
    stream or the store does not answer; the check of the tagger says since when and why. A tagger that its supervisor
    gave up is named with the reason.

    The exit code is 1 when a check failed. A note is not a failure, for instance an extra that is not installed or a
    worker that does not run. --json writes one line for each check: {"check", "state", "detail", "remedy"}.
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
