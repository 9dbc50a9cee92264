"""Which epoch a home is on: `HOME/epochs.json`, written by `groknet backfill` and `groknet epoch`, read by the workers.

Without the file, a home is on the epoch of its configured bundle. With it, on `active`: workers that were not given
`--bundle` take that epoch's bundle, a running search service changes over to it, a running tagger drains and ends, to
be started again. A change of `engine.bundle` by hand, after the file was written, overrules it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from groknet.exits import CommandError, Exit
from groknet.home import Home
from groknet.services import Http, Running, is_locked, read_running
from schemas.hashes import Epoch
from schemas.manifest import load_manifest


class Epochs(msgspec.Struct, frozen=True, kw_only=True):
    """`bundles`: folder by epoch; `configured`: the bundle that the configuration named when this was written."""

    configured: str
    active: Epoch
    bundles: dict[Epoch, str]
    previous: Epoch | None = None

    @property
    def bundle(self) -> str:
        """The folder of the epoch in force."""
        return self.bundles[self.active]

    def named(self, epoch: str) -> str:
        """The folder of an epoch; raises CommandError for one that is not known here."""
        if epoch not in self.bundles:
            text = f"epoch {epoch} is not known here; there are {', '.join(sorted(self.bundles))}"
            raise CommandError(f"{text}; `groknet backfill --bundle DIR` adds one", Exit.NOT_FOUND)
        return self.bundles[epoch]


def epochs_file(home: Home) -> Path:
    """Where it lies."""
    return home.root / "epochs.json"


def read_epochs(home: Home, configured: str | Path) -> Epochs:
    """What a home whose configuration names this bundle is on; raises BundleRefused when there is no such bundle, and
    CommandError when the file cannot be read."""
    found = written_epochs(home)
    if found is not None and found.configured == str(configured):
        return found
    epoch = load_manifest(Path(configured)).epoch
    return Epochs(configured=str(configured), active=epoch, bundles={epoch: str(configured)})


def written_epochs(home: Home) -> Epochs | None:
    """The file, or None without one; raises CommandError when it cannot be read."""
    try:
        found = msgspec.json.decode(epochs_file(home).read_bytes(), type=Epochs)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        text = f"{epochs_file(home)}: cannot be read ({error}); delete it to go by engine.bundle again"
        raise CommandError(text, Exit.USAGE) from None
    return found if found.active in found.bundles else None


def write_epochs(home: Home, epochs: Epochs) -> None:
    """Replace the file; readers see the old or the new one."""
    part = epochs_file(home).with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(epochs)) + b"\n")
    part.replace(epochs_file(home))


def with_epoch(epochs: Epochs, epoch: str, bundle: str) -> Epochs:
    """One epoch more, or another folder of a known one."""
    return msgspec.structs.replace(epochs, bundles={**epochs.bundles, epoch: bundle})


def without_epoch(epochs: Epochs, epoch: str) -> Epochs:
    """One epoch less; raises CommandError for the one in force."""
    epochs.named(epoch)
    if epoch == epochs.active:
        raise CommandError(f"epoch {epoch} is in force; switch to another one first", Exit.USAGE)
    bundles = {one: bundle for one, bundle in epochs.bundles.items() if one != epoch}
    previous = None if epochs.previous == epoch else epochs.previous
    return msgspec.structs.replace(epochs, bundles=bundles, previous=previous)


def switched(epochs: Epochs, epoch: str) -> Epochs:
    """On `epoch`, and the way back remembered."""
    epochs.named(epoch)
    if epoch == epochs.active:
        return epochs
    return msgspec.structs.replace(epochs, active=epoch, previous=epochs.active)


def beside_name(epoch: str) -> str:
    """What an indexer is called that holds an epoch beside the home's first one."""
    return f"indexer-{epoch}"


def every_indexer(home: Home, configured: Iterable[str]) -> list[str]:
    """The configured indexers, else all that run on this home, of whatever epoch."""
    urls = list(configured)
    if urls:
        return urls
    names = sorted(path.stem for path in home.run.glob("indexer*.json"))
    running = [read_running(home, name) for name in names if is_locked(home, name)]
    return [one.url for one in running if isinstance(one, Running)]


def epoch_of(url: str) -> str | None:
    """The epoch that an indexer holds; None when it does not say."""
    try:
        status, body = Http(url, 5.0).request("GET", "/v1/index")
    except OSError:
        return None
    return str(body["epoch"]) if status == 200 else None
