"""Makes the file system of an image without Docker, and starts the workers on it as a container would.

    python -m deploy.image_tree build TREE [--lock run.txt] [--python /usr/bin/python3]
    python -m deploy.image_tree run TREE HOME -- COMMAND ...

`build` runs deploy/image/build.sh, as the Dockerfile does. `run` needs root: it mounts the tree read-only in a mount
namespace of its own, gives up every capability, becomes user 10001 and runs COMMAND of the tree (such as `groknet run
all`) with HOME as the place for what it writes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

USER = 10001
"""The user and the group in deploy/image/Dockerfile."""
_SCRIPT = Path(__file__).parent / "image" / "build.sh"
_INSIDE = """set -eu
mount --make-rprivate /
mount --bind "$TREE" "$TREE"
mount -o remount,bind,ro "$TREE"
exec setpriv --reuid "$ID" --regid "$ID" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""


def build(tree: Path, lock: str, python: str) -> int:
    """Make the environment in `tree` from the checkout. User 10001 must be able to read the interpreter `python`.
    Returns the exit code of the script."""
    source = Path(__file__).parents[1]
    environ = {**os.environ, "PYTHON": python, "INSTALLER": sys.executable}
    return subprocess.run(["sh", str(_SCRIPT), str(source), str(tree), lock], env=environ, check=False).returncode


def confined(tree: Path, command: list[str]) -> list[str]:
    """The words that run a command of the tree as a container would: without rights, on a read-only tree."""
    return ["unshare", "--mount", "sh", "-c", _INSIDE, "sh", str(tree / "bin" / command[0]), *command[1:]]


def environment(tree: Path, home: Path) -> dict[str, str]:
    """The variables that the Dockerfile sets, with the places of this machine, and those of ours that are set."""
    given = {name: value for name, value in os.environ.items() if name.startswith("GROKNET__")}
    return {
        **given,
        "PATH": f"{tree}/bin:/usr/local/bin:/usr/bin:/bin",
        "GROKNET_HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "TREE": str(tree),
        "ID": str(USER),
    }


def main() -> int:
    """Read the command line, and return the exit code of `build`. `run` turns this process into its command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.image_tree")
    parts = parser.add_subparsers(dest="what", required=True)
    making = parts.add_parser("build")
    making.add_argument("tree", type=Path)
    making.add_argument("--lock", default="run.txt")
    making.add_argument("--python", default=sys.executable)
    running = parts.add_parser("run")
    running.add_argument("tree", type=Path)
    running.add_argument("home", type=Path)
    running.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    tree = given.tree.absolute()
    if given.what == "build":
        return build(tree, given.lock, given.python)
    home = given.home.absolute()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(home, USER, USER)
    command = confined(tree, [word for word in given.command if word != "--"])
    os.chdir(home)
    os.execvpe(command[0], command, environment(tree, home))  # so that Ctrl-C and SIGTERM reach the command alone


if __name__ == "__main__":
    sys.exit(main())
