"""What an export puts into a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.training import tiny
from training.bundle import export
from training.bundle.export import words_of
from training.bundle.onnx_graph import ExportedGraph
from training.data.corpus import Corpus, load_corpus
from training.loop.state import CHECKPOINT, new_state
from training.readers.query_words import query_words
from training.recipe import HeadSpec

pytestmark = pytest.mark.slow


class _Enough(Exception):
    """The export went as far as this test looks."""


@pytest.mark.parametrize("tutor", ["", "efficientnet_lite2"])
def test_an_export_serves_the_groups_and_says_how_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tutor: str
) -> None:
    heads = [
        HeadSpec(id="studio.category", column="category", datasets=["studio"], finer="studio.product"),
        HeadSpec(id="studio.product", column="product", datasets=["studio"]),
    ]
    recipe = msgspec.structs.replace(tiny.tiny_recipe(), heads=heads)
    corpus = load_corpus(recipe, tmp_path, tmp_path / "cache")
    state = new_state(recipe, corpus)
    state.taught_by = tutor
    state.save(tmp_path / CHECKPOINT)
    seen: dict[str, Any] = {}

    def write(_recipe: object, graph: ExportedGraph, *_: object, facts: Any, **__: object) -> None:
        seen.update(groups=graph.groups, command=facts.command)
        raise _Enough

    monkeypatch.setattr(export, "choose_hash", lambda *_: {})
    monkeypatch.setattr(export, "write_raw", write)
    with pytest.raises(_Enough):
        export.export(recipe, tmp_path, tmp_path, tmp_path / "bundle", cache=tmp_path / "cache", recipe_file="r.toml")
    finer, shares = seen["groups"]["studio.category"]
    products, categories = (target.values for target in reversed(corpus.heads))
    rows = {row["product"]: row["category"] for row in corpus.sets[0].rows}
    assert finer == "studio.product"
    assert [categories[int(row.argmax())] for row in shares] == [rows[product] for product in products]
    last = "groknet train r.toml --data DATA --out RUN"
    if tutor:
        last = f"groknet train r.toml --data DATA --out TUTOR --as-tutor && {last} --tutor TUTOR"
    assert seen["command"] == f"{last} && groknet export RUN --out BUNDLE"


def test_what_words_were_taught_against_loops(tiny_corpus: Corpus) -> None:
    (targets,) = [one for one in tiny_corpus.heads if one.spec.id == "query"]
    taught: dict[str, list[float]] = {word: [] for word in targets.values}
    for row in tiny_corpus.sets[0].rows:
        words = query_words(row) & set(targets.values)
        if row["split"] in ("train", "gallery"):
            for word in words:
                taught[word].append(1 / len(words))
    found = words_of(tiny_corpus, targets)
    assert found.usual == pytest.approx([np.mean(taught[word]) for word in targets.values])
    assert set(found.source.tolist()) == {0}
