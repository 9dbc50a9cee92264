"""Names of labels come from training data, which may be a stranger's: they are shown without characters that steer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from schemas.manifest import Head, Label, Manifest, load_manifest
from schemas.predictions import Prediction
from tests.engines.tiny_bundle import write_tiny_bundle
from workers.search.find.labels.naming import Names
from workers.search.find.labels.vote import Ballot, Voting

HOSTILE = "mug\u202e\x1b[2J\r\n red\u2066"
CLEAN = "mug[2J red"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """A bundle with one head, whose two labels have hostile names: one by its display name, one by its value."""
    write_tiny_bundle(tmp_path)
    made = load_manifest(tmp_path)
    labels = [
        Label(id="a", index=0, value="a", display={"en": HOSTILE, "sv": f"{HOSTILE}!"}),
        Label(id="b", index=1, value=HOSTILE),
    ]
    head: Head = msgspec.structs.replace(made.heads[0], labels=labels, column="category", calibration=None)
    return msgspec.structs.replace(made, heads=[head])


def test_names_and_tags_have_no_character_that_steers(manifest: Manifest) -> None:
    names, head = Names(manifest), manifest.heads[0].id
    assert names.name(head, "a", "en") == names.name(head, "b", "en") == CLEAN
    assert names.name(head, "a", "sv-SE") == f"{CLEAN}!"
    assert names.name(head, HOSTILE, "en") == CLEAN  # a label that another model stored
    said = {head: [Prediction(label="a", probability=0.9, offered=True)]}
    assert names.tags(said, "en", [head]) == [CLEAN]


def test_a_category_that_gets_votes_has_none_either(manifest: Manifest) -> None:
    said = {manifest.heads[0].id: [Prediction(label="b", probability=0.9, offered=True)]}
    counted = Voting(manifest).count(said, [Ballot("one", CLEAN, 3)])
    assert [share.category for share in counted] == [CLEAN]
