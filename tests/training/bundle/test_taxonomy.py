"""A taxonomy that a run extends keeps its ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from schemas.manifest import Manifest
from schemas.taxonomy import Taxonomy
from tests.training import tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    bundle, manifest = tiny.tiny_bundle(tmp_path_factory.mktemp("tiny"))
    return bundle, manifest


def test_a_taxonomy_keeps_its_ids(made: tuple[Path, Manifest]) -> None:
    from schemas.taxonomy import TaxonomyHead, TaxonomyLabel
    from training.bundle.taxonomy import extend_taxonomy
    from training.data.labels import Targets

    spec = tiny.tiny_recipe().heads[1]
    red = TaxonomyLabel(id="rot", value="red", display={"de": "Rot"})
    old = Taxonomy(heads=[TaxonomyHead(id=spec.id, kind="softmax", column="colour", datasets=[], labels=[red])])
    (head,) = extend_taxonomy(old, [Targets(spec, ["Äpple", "apple", "red"], np.zeros(0, np.int64))]).heads
    assert [(label.id, label.value) for label in head.labels] == [
        ("rot", "red"),
        ("apple", "Äpple"),
        ("apple-2", "apple"),
    ]
