"""Two bundles, the homes on one store that may run them, and what their workers announce."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from groknet.home.config import Loaded, load_config
from groknet.home.epochs import (
    Epochs,
    bundle_at,
    change_record,
)
from groknet.home.paths import Home
from groknet.run.presence import Presence
from workers.stores import Store

OLD, NEW = "0123456789ab", "aaaaaaaaaaaa"
PATIENCE_S = 60.0


@dataclass
class Place:
    """Bundles `old` and `new`, and homes on one store."""

    folder: Path
    store: Store
    old: Path
    new: Path

    def home(self, name: str, bundle: Path | None = None) -> Loaded:
        root = self.folder / name
        Home(root).make()
        url = f"sqlite://{self.folder}/store.db"
        (root / "groknet.toml").write_text(f'[store]\nurl = "{url}"\n[engine]\nbundle = "{bundle or self.old}"\n')
        return load_config(Home(root), {})

    def both(self) -> Epochs:
        return Epochs(active=OLD, bundles={OLD: bundle_at(self.old), NEW: bundle_at(self.new)})

    def record(self, epochs: Epochs) -> None:
        change_record(self.store, lambda _: epochs, lambda: epochs)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def presence(epoch: str = OLD, home: str = "/srv/one", **given: object) -> Presence:
    fields = {"kind": "tagger", "name": "tagger", "host": "box", "pid": 1, "url": "", "since": 0.0, "follows": True}
    return Presence(**{**fields, "epoch": epoch, "home": home, **given})
