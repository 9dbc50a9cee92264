"""`groknet --install-completion`: what bash makes of the script that it writes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from tests.groknet.conftest import Call

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


def completed(script: Path, *words: str) -> set[str]:
    """What bash offers for the last of some words."""
    ask = f"""
        source {script}
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        COMP_LINE="${{COMP_WORDS[*]}}"; COMP_POINT=${{#COMP_LINE}}
        _groknet groknet '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


@needs_bash
def test_bash_completes_commands_and_options(groknet: Call, tmp_path: Path) -> None:
    script = tmp_path / "folder" / "groknet.bash"
    answer = groknet("--install-completion", "--shell", "bash", "--output", script)
    assert answer.code == Exit.OK, answer.err
    assert str(script) in answer.err
    assert completed(script, "groknet", "sub") == {"submit"}
    assert completed(script, "groknet", "dlq", "re") == {"replay"}
    assert completed(script, "groknet", "show", "--model") == {"--model-version"}


def test_a_command_whose_packages_are_missing_is_left_out(
    groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.startswith(("deploy", "groknet.commands.operation.services"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "psutil", None)
    script = tmp_path / "groknet.bash"
    assert groknet("--install-completion", "--shell", "bash", "--output", script).code == Exit.OK
    assert "cassandra-heap-mb" not in script.read_text()
    assert "--model-version" in script.read_text()


def test_an_unknown_shell_is_refused(groknet: Call) -> None:
    answer = groknet("--install-completion", "--shell", "tcsh")
    assert answer.code == Exit.USAGE
    assert "tcsh" in answer.err
