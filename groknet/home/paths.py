"""HOME, the folder that holds the configuration, the embedded data and the announcements of running workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from groknet.cli.exits import CommandError, Exit
from workers.intake.uploads import FOLDER as UPLOADS

HOME_VARIABLE = "GROKNET_HOME"
DEFAULT_HOME = "groknet-home"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside one home folder. `root` is absolute."""

    root: Path

    @property
    def config_file(self) -> Path:
        """The TOML file. It need not exist."""
        return self.root / "groknet.toml"

    @property
    def stream_url(self) -> str:
        """The URL of the embedded stream."""
        return f"sqlite:///{self.root / 'stream.db'}"

    @property
    def store_url(self) -> str:
        """The URL of the embedded store."""
        return f"sqlite:///{self.root / 'store.db'}"

    @property
    def run(self) -> Path:
        """The folder of the locks and `<worker>.json` files of running workers. The second tagger is `tagger-2`."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """`<worker>.log`."""
        return self.root / "logs"

    @property
    def uploads(self) -> Path:
        """The folder for copies of photos that are too large for an event. Workers may always read it."""
        return self.root / UPLOADS

    def make(self) -> Home:
        """Create the folder for its owner alone; raises CommandError when that cannot be done."""
        _keep_private()
        try:
            for folder in (self.root, self.run, self.logs, self.uploads):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            text = f"--home {self.root}: cannot be created ({error.strerror}); name a folder that you can write to"
            raise CommandError(text, Exit.USAGE) from None
        return self

    def must_exist(self) -> Home:
        """Raise CommandError when there is no such folder: reading from a mistyped home must not create one."""
        _keep_private()
        if not self.root.is_dir():
            text = f"--home {self.root}: no such folder; start with `groknet run all --home {self.root}`"
            raise CommandError(text, Exit.NOT_FOUND)
        return self


def _keep_private() -> None:
    """From now on, what this process creates is for its owner alone: a home has photos, titles and passwords."""
    os.umask(0o077)


def loose_files(home: Home) -> list[Path]:
    """The folder, or files in it, that others than the owner may read or write; empty if the folder shuts them out."""
    if not home.root.exists() or not home.root.stat().st_mode & 0o077:
        return []
    places = [home.config_file, *home.root.glob("*.db*"), *home.logs.glob("*"), *home.run.glob("*")]
    return [home.root, *(path for path in places if path.exists() and path.stat().st_mode & 0o077)]


def find_home(option: Path | None, environ: Mapping[str, str] = os.environ) -> Home:
    """The home that `--home` names, otherwise GROKNET_HOME, otherwise ./groknet-home."""
    return Home(Path(option or environ.get(HOME_VARIABLE) or DEFAULT_HOME).expanduser().absolute())
