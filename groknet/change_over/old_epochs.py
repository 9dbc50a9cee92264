"""HOME/epochs.json, the file of an older version. `groknet store migrate` copies it into the store."""

from __future__ import annotations

from pathlib import Path

import msgspec

from groknet.cli.exits import CommandError, Exit
from groknet.home.config import Loaded
from groknet.home.epochs import (
    OLD_FILE,
    Epochs,
    bundle_at,
    change_record,
    configured_epochs,
    read_record,
    with_epoch,
)
from schemas.errors import BundleRefused
from schemas.hashes import Epoch
from workers.stores import Store


class _OldEpochs(msgspec.Struct, frozen=True, kw_only=True):
    """`bundles`: the folder of each epoch's bundle. `configured`: the bundle in the configuration when this was
    written."""

    configured: str
    active: Epoch
    bundles: dict[Epoch, str]
    previous: Epoch | None = None


def take_over(loaded: Loaded, store: Store) -> str:
    """Copy a home's old record into the store and rename the file. Returns what was done, or an empty text if there is
    no file.

    If the store already has a record, both must agree on the epoch in force and on the bundles of the epochs that both
    know. Epochs that only the file knows are added.

    Raises:
        CommandError: the file cannot be read, or it contradicts the store's record. Nothing is changed then.
        BundleRefused: the bundle of the file's epoch in force is missing.
    """
    file = loaded.home.root / OLD_FILE
    old = _read(file)
    if old is None:
        return ""
    if old.configured != loaded.configured:
        _aside(file)
        return f"{file} was not in force, because engine.bundle was changed after it was written; it was renamed"
    mine = _epochs(old)

    def join(known: Epochs) -> Epochs:
        _refuse_another(file, mine, known)
        for epoch, bundle in mine.bundles.items():
            if epoch not in known.bundles:
                known = with_epoch(known, epoch, bundle)
        return known

    had_record = read_record(store) is not None
    change_record(store, join, lambda: mine)
    _aside(file)
    return f"{file} agrees with the store" if had_record else f"{file} was copied: epoch {mine.active} is in force"


def back_again(loaded: Loaded, store: Store) -> str:
    """Give an older version its file back, which `take_over` has renamed. Returns what was done, or an empty text if
    there is no such file.

    Raises CommandError if the file would put another epoch in force than the store's record does now. Nothing is
    changed then.
    """
    file = loaded.home.root / OLD_FILE
    kept = _kept(file)
    old = _read(kept)
    record = read_record(store)
    if old is None:
        if record is not None and record.epochs.active != configured_epochs(loaded).active:
            text = f"epoch {record.epochs.active} is in force, and an older release would run that of engine.bundle"
            raise CommandError(f"{text}; set engine.bundle to its bundle first", Exit.FAILED)
        return ""
    if record is not None and record.epochs.active != old.active:
        text = (
            f"epoch {record.epochs.active} is in force now, and {kept} says {old.active}, which an older release runs"
        )
        raise CommandError(f"{text}; `groknet epoch back` first, or stay on this release", Exit.FAILED)
    if file.exists():
        raise CommandError(f"{file} is there already; delete the one that is not wanted, it or {kept}", Exit.FAILED)
    kept.rename(file)
    return f"{kept} is {file} again, as the older release reads it"


def _read(file: Path) -> _OldEpochs | None:
    try:
        old = msgspec.json.decode(file.read_bytes(), type=_OldEpochs)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        text = f"{file}: cannot be read ({error}); delete it to use engine.bundle or the store's record"
        raise CommandError(text, Exit.USAGE) from None
    if old.active not in old.bundles:
        text = f"{file}: has no bundle of its epoch in force, {old.active}; delete it to use engine.bundle"
        raise CommandError(text, Exit.USAGE)
    return old


def _epochs(old: _OldEpochs) -> Epochs:
    """The record of a file. An epoch whose bundle is missing is left out, unless it is in force."""
    bundles = {}
    for epoch, folder in old.bundles.items():
        try:
            bundles[epoch] = bundle_at(Path(folder))
        except BundleRefused:
            if epoch == old.active:
                raise
    previous = old.previous if old.previous in bundles else None
    return Epochs(active=old.active, previous=previous, bundles=bundles)


def _refuse_another(file: Path, mine: Epochs, known: Epochs) -> None:
    if mine.active != known.active:
        text = f"{file}: epoch {mine.active} is in force there, and {known.active} in the store"
        raise CommandError(
            f"{text}; delete the file to follow the store, or switch the store with `groknet epoch switch`", Exit.USAGE
        )
    for epoch, bundle in mine.bundles.items():
        other = known.bundles.get(epoch)
        if other is not None and other.digest != bundle.digest:
            text = (
                f"{file}: epoch {epoch} has the bundle {bundle.location}, and the store another one, {other.location}"
            )
            raise CommandError(f"{text}; delete the file to follow the store", Exit.USAGE)


def _aside(file: Path) -> None:
    file.rename(_kept(file))


def _kept(file: Path) -> Path:
    return file.with_name(f"{OLD_FILE}.migrated")
