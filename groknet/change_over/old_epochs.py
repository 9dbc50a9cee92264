"""HOME/epochs.json, the file of an older version. `groknet store migrate` copies it into the store."""

from __future__ import annotations

from pathlib import Path

import msgspec

from groknet.cli.exits import CommandError, Exit
from groknet.home.config import Loaded
from groknet.home.epochs import OLD_FILE, Epochs, bundle_at, change_record, read_record, with_epoch
from schemas.errors import BundleRefused
from schemas.hashes import Epoch
from workers.stores import Store


class _OldEpochs(msgspec.Struct, frozen=True, kw_only=True):
    """`bundles`: folder by epoch; `configured`: the bundle that the configuration named when this was written."""

    configured: str
    active: Epoch
    bundles: dict[Epoch, str]
    previous: Epoch | None = None


def take_over(loaded: Loaded, store: Store) -> str:
    """Move a home's old record into the store and rename the file; returns what was done, empty without a file.

    Where the store has a record already, the two must agree on the epoch in force and on the bundles of all epochs
    that both know; epochs that only the file knows are added.

    Raises:
        CommandError: the file cannot be read, or it differs from the store's record; nothing is changed.
        BundleRefused: the bundle of the file's epoch in force is not there.
    """
    file = loaded.home.root / OLD_FILE
    old = _read(file)
    if old is None:
        return ""
    if old.configured != loaded.configured:
        _aside(file)
        return f"{file} was not in force, since engine.bundle has been changed after it was written; it is set aside"
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
    return f"{file} agrees with the store" if had_record else f"{file} is taken over: epoch {mine.active} is in force"


def _read(file: Path) -> _OldEpochs | None:
    try:
        old = msgspec.json.decode(file.read_bytes(), type=_OldEpochs)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        text = f"{file}: cannot be read ({error}); delete it to go by engine.bundle or the store's record"
        raise CommandError(text, Exit.USAGE) from None
    if old.active not in old.bundles:
        text = f"{file}: has no bundle of its epoch in force, {old.active}; delete it to go by engine.bundle"
        raise CommandError(text, Exit.USAGE)
    return old


def _epochs(old: _OldEpochs) -> Epochs:
    """The record that a file stands for; an epoch that is not in force and whose bundle is gone is left out."""
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
    file.rename(file.with_name(f"{OLD_FILE}.migrated"))
