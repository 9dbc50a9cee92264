"""A dead-letter topic that cannot be written for longer than a photo may crash: nothing is committed, nobody blamed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from schemas.dead_letters import parse_dead_letter
from schemas.errors import ConfigError
from schemas.predictions import StoredListing
from schemas.topics import DEAD_LETTERS
from tests.workers.tagger.rig import PATIENCE_S, Rig, event, jpeg


def rename_topic(home: Path, old: str, new: str) -> None:
    """Take a topic away with all that is in it, or bring it back."""
    with closing(sqlite3.connect(home / "stream.db")) as db, db:
        db.execute("UPDATE topics SET name = ? WHERE name = ?", (new, old))
        db.execute("UPDATE partitions SET topic = ? WHERE topic = ?", (new, old))


def test_an_outage_of_the_dead_letter_topic_is_no_crash_of_the_photo(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = make_rig(in_place_tries=1)
    rig.send(event("half", [jpeg(1), b"no photo"]))
    rename_topic(tmp_path, DEAD_LETTERS, "away")
    for _ in range(rig.settings.max_attempts + 1):
        with rig.tagger() as failure:
            deadline = time.monotonic() + PATIENCE_S
            while not failure and time.monotonic() < deadline:
                time.sleep(0.01)
        assert isinstance(failure[0], ConfigError)
        assert rig.lag() == 1
    rename_topic(tmp_path, "away", DEAD_LETTERS)
    with rig.tagger() as failure:
        rig.wait(failure)
    letters = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert [(letter.stage, letter.image_id) for letter in letters] == [("decode", "1")]
    stored = rig.store.get(["half"])["half"]
    assert isinstance(stored, StoredListing)
    assert [row.image_id for row in stored.images] == ["0"]
