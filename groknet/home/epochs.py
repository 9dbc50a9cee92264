"""Finds the epoch in force and its bundle. A record in the store names them, and the workers of every home follow it.

Without the record, a home is on the epoch of its configured bundle. `groknet backfill` creates the record and
`groknet epoch` changes it, both by compare-and-set. Workers that were started with `--bundle` do not follow it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from groknet.cli.exits import CommandError, Exit
from groknet.home.config import Loaded
from groknet.home.paths import Home
from groknet.home.running import Http, Running, is_locked, read_running
from schemas.errors import BundleRefused, ConfigError
from schemas.hashes import Epoch
from schemas.manifest import MANIFEST_FILE, load_manifest, verify_files
from workers.stores import Store

SETTING = "epochs"
"""Name of the record in the store."""
OLD_FILE = "epochs.json"
"""The file in which an older version kept the record."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """The folder of an epoch's bundle when it became known, and the SHA-256 of its manifest.json, which has the
    checksums of its other files."""

    location: str
    digest: str


class Epochs(msgspec.Struct, frozen=True, kw_only=True):
    """The record: the epoch in force, the one before it, and every known epoch with its bundle."""

    active: Epoch
    previous: Epoch | None = None
    bundles: dict[Epoch, Bundle]

    def named(self, epoch: str) -> Bundle:
        """The bundle of an epoch. Raises CommandError if the epoch is not known."""
        if epoch not in self.bundles:
            text = f"epoch {epoch} is not known here; there are {', '.join(sorted(self.bundles))}"
            raise CommandError(f"{text}; `groknet backfill --bundle DIR` adds one", Exit.NOT_FOUND)
        return self.bundles[epoch]


class Record(NamedTuple):
    """The record as it was read. `version` is for the compare-and-set."""

    epochs: Epochs
    version: int


def read_record(store: Store) -> Record | None:
    """The record, or None if there is none. Raises Transient, and ConfigError if the record cannot be decoded."""
    found = store.setting(SETTING)
    if found is None:
        return None
    try:
        return Record(msgspec.json.decode(found.value, type=Epochs), found.version)
    except msgspec.DecodeError as error:
        raise ConfigError(f"setting {SETTING} of the store: {error}; is an older groknet running here?") from None


def change_record(store: Store, change: Callable[[Epochs], Epochs], first: Callable[[], Epochs]) -> Epochs:
    """Change the record, even if others change it at the same time. If there is no record, `first` makes one.

    If another writer was faster, `change` is called again with the new record. Raises what `change` and `first` raise,
    and Transient.
    """
    while True:
        record = read_record(store)
        epochs = change(first() if record is None else record.epochs)
        if record is not None and epochs == record.epochs:
            return epochs
        if store.put_setting(SETTING, msgspec.json.encode(epochs), 0 if record is None else record.version):
            return epochs


def known_epochs(loaded: Loaded, store: Store) -> Epochs:
    """The record. If there is none, the epoch of the home's configured bundle.

    Raises:
        ConfigError: the home still has the record of an older version.
        BundleRefused: there is no such bundle.
    """
    record = read_record(store)
    if record is not None:
        return record.epochs
    refuse_old_file(loaded.home)
    return configured_epochs(loaded)


def configured_epochs(loaded: Loaded) -> Epochs:
    """The record that the home's configured bundle alone would give. Raises BundleRefused if there is no such
    bundle."""
    folder = Path(loaded.configured)
    epoch = load_manifest(folder).epoch
    return Epochs(active=epoch, bundles={epoch: bundle_at(folder)})


def refuse_old_file(home: Home) -> None:
    """Raise ConfigError if a home has the record of an older version, which workers no longer read."""
    file = home.root / OLD_FILE
    if file.exists():
        raise ConfigError(
            f"{file}: the epoch in force is in the store now; run `groknet store migrate --home {home.root}`"
        )


def bundle_at(folder: Path) -> Bundle:
    """The bundle in a folder. Raises BundleRefused if there is none."""
    load_manifest(folder)
    return Bundle(location=str(folder), digest=_digest(folder))


def find_bundle(loaded: Loaded, epochs: Epochs, epoch: str) -> Path:
    """The folder that has the bundle of an epoch, complete and unchanged. It is the home's configured bundle if that
    has this epoch, otherwise the recorded folder, otherwise HOME/bundles/EPOCH.

    Raises:
        BundleRefused: none of these folders has it; the message gives the reason for each.
        CommandError: the epoch is not known.
    """
    bundle = epochs.named(epoch)
    own = Path(loaded.configured)
    if _epoch_in(own) == epoch:
        return own
    reasons = []
    places = (Path(bundle.location), loaded.home.root / "bundles" / epoch)
    for folder in places:
        why = _wrong_with(folder, bundle.digest)
        if not why:
            return folder
        reasons.append(why)
    raise BundleRefused(f"{'; '.join(reasons)}; copy the bundle of epoch {epoch} to {places[0]} or {places[1]}")


def in_force(loaded: Loaded, store: Store) -> Loaded:
    """The configuration with the bundle of the epoch in force, if the home follows it.

    Raises:
        BundleRefused: this home does not have that bundle.
        ConfigError: the home still has the record of an older version, and the store has none.
        Transient: the store does not answer.
    """
    if not loaded.follows:
        return loaded
    record = read_record(store)
    if record is None:
        refuse_old_file(loaded.home)
        return loaded
    return loaded.with_bundle(find_bundle(loaded, record.epochs, record.epochs.active))


def with_epoch(epochs: Epochs, epoch: str, bundle: Bundle) -> Epochs:
    """The record with one more epoch, or with another bundle for a known one."""
    return msgspec.structs.replace(epochs, bundles={**epochs.bundles, epoch: bundle})


def without_epoch(epochs: Epochs, epoch: str) -> Epochs:
    """The record without an epoch. Raises CommandError for the epoch in force."""
    epochs.named(epoch)
    if epoch == epochs.active:
        raise CommandError(f"epoch {epoch} is in force; switch to another one first", Exit.USAGE)
    bundles = {one: bundle for one, bundle in epochs.bundles.items() if one != epoch}
    previous = None if epochs.previous == epoch else epochs.previous
    return msgspec.structs.replace(epochs, bundles=bundles, previous=previous)


def switched(epochs: Epochs, epoch: str) -> Epochs:
    """The record with `epoch` in force, and the former epoch as the previous one."""
    epochs.named(epoch)
    if epoch == epochs.active:
        return epochs
    return msgspec.structs.replace(epochs, active=epoch, previous=epochs.active)


def beside_name(epoch: str) -> str:
    """The name of a further indexer of a home, which holds another epoch than the first one."""
    return f"indexer-{epoch}"


def every_indexer(home: Home, configured: Iterable[str]) -> list[str]:
    """The URLs of the configured indexers. If there are none, those of all indexers of this home, of any epoch."""
    urls = list(configured)
    if urls:
        return urls
    names = sorted(path.stem for path in home.run.glob("indexer*.json"))
    running = [read_running(home, name) for name in names if is_locked(home, name)]
    return [one.url for one in running if isinstance(one, Running)]


def epoch_of(url: str) -> str | None:
    """The epoch that an indexer holds. None if it does not answer."""
    try:
        status, body = Http(url, 5.0).request("GET", "/v1/index")
    except OSError:
        return None
    return str(body["epoch"]) if status == 200 else None


def _epoch_in(folder: Path) -> str | None:
    try:
        return load_manifest(folder).epoch
    except BundleRefused:
        return None


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()


def _wrong_with(folder: Path, digest: str) -> str:
    """Why a folder does not have the bundle with that digest. Empty if it has it."""
    if not (folder / MANIFEST_FILE).is_file():
        return f"no bundle in {folder}"
    try:
        if _digest(folder) != digest:
            return f"{folder} holds another bundle"
        return _wrong_files(folder, digest, _stamps(folder))
    except (OSError, BundleRefused) as error:
        return f"{folder}: {error}"


def _stamps(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size in bytes and time of change of each file. They change while a folder is still being copied."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


@lru_cache(maxsize=64)  # the checksums of 20 MB and more are needed every few seconds
def _wrong_files(folder: Path, _digest: str, _stamps: tuple[tuple[str, int, int], ...]) -> str:
    try:
        verify_files(folder, load_manifest(folder))
    except BundleRefused as error:
        return f"{folder}: {error}"
    return ""
