"""A taxonomy that a run extends keeps its ids."""

from __future__ import annotations

import numpy as np

from schemas.taxonomy import Taxonomy, TaxonomyHead, TaxonomyLabel
from tests.training import tiny
from training.bundle.taxonomy import extend_taxonomy
from training.data.labels import Targets


def test_a_taxonomy_keeps_its_ids() -> None:
    spec = tiny.tiny_recipe().heads[1]
    red = TaxonomyLabel(id="rot", value="red", display={"de": "Rot"})
    old = Taxonomy(heads=[TaxonomyHead(id=spec.id, kind="softmax", column="colour", datasets=[], labels=[red])])
    (head,) = extend_taxonomy(old, [Targets(spec, ["Äpple", "apple", "red"], np.zeros(0, np.int64))]).heads
    assert [(label.id, label.value) for label in head.labels] == [
        ("rot", "red"),
        ("apple", "Äpple"),
        ("apple-2", "apple"),
    ]
