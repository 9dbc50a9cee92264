"""`groknet upgrade`: take over what an older release has left, or go back to it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from groknet.cli.exits import Exit
from groknet.cli.options import HomeOption, JsonOption
from groknet.cli.terminal import json_line


def upgrade(
    *,
    home: HomeOption = None,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative=(), help="Only say what would be done. Nothing is changed.")
    ] = False,
    back: Annotated[
        bool, Parameter(name="--back", negative=(), help="Prepare the home for the release before this one instead.")
    ] = False,
    json: JsonOption = False,
) -> Exit:
    """Take over the home, the tables of the store and the topics of an older release.

    Run it after you installed this release and before its workers start. It stops at the first step that cannot be
    done, with the reason. A second run changes nothing. Stop the workers of this home first.

    --back prepares the home for the release before this one. It is refused, with the reason, when that release would
    put another epoch in force. Tables and topics stay, because this release only added to them.

    --json writes one line for each step: {"step", "state", "what"}. The state is done, to do or refused.
    """
    from groknet.change_over import upgrade as steps
    from groknet.home.config import load_config
    from groknet.home.paths import find_home

    loaded = load_config(find_home(home).must_exist())
    found = [steps.back(loaded)] if back else steps.plan(loaded) if dry_run else steps.upgrade(loaded)
    refused = False
    for step in found:
        refused = refused or step.state == "refused"
        if json:
            json_line(step)
        else:
            print(f"{step.state:<8}{step.step}: {step.what}")
    return Exit.FAILED if refused else Exit.OK
