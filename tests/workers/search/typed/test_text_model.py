"""A text model of the operator finds photos by words that no label means. Here it is a table of vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import urllib3
from numpy.typing import NDArray
from onnx import numpy_helper

from engines.pixels import decode_photo
from engines.recognition import HashLayer, load_bundle, read_hash_layer
from schemas.errors import ConfigError
from tests.engines.tiny_bundle import MODEL_FILE, write_tiny_bundle
from tests.workers.indexer.running import until
from tests.workers.search.rig import Rig, photo, rig, served
from workers.search import TextTower, load_text_tower
from workers.search.find.filters import ANY
from workers.search.typed.text_model import TextSearch

TEXTS = {"wobbly dragon": 5, "red wobbly dragon": 5, "velvet comet": 7}
"""Texts, and the photo whose embedding the model gives for each."""


class Table:
    """Answers with the embedding of a photo, longer than 1; nothing for other texts."""

    def __init__(self, vectors: dict[str, NDArray[np.float32]], dim: int) -> None:
        self.vectors, self.dim = vectors, dim

    def embed(self, text: str) -> NDArray[np.float32]:
        if "broken" in text:
            raise RuntimeError("planted")
        if "misshapen" in text:
            return np.ones(3, np.float32)
        return 3 * self.vectors.get(text, np.zeros(self.dim, np.float32))


def short() -> Table:
    """A factory whose vectors are no embeddings."""
    return Table({}, 3)


def layer_of(bundle: Path) -> HashLayer:
    """The layer in the graph of a tiny bundle, whose parity file does not have it."""
    stored = {one.name: numpy_helper.to_array(one) for one in onnx.load(str(bundle / MODEL_FILE)).graph.initializer}
    weight = stored["to_bits"].T.astype(np.float32)
    return HashLayer(weight, np.zeros(len(weight), np.float32))


def between(n: int) -> str:
    """A text between photo 5 and another one."""
    return f"velvet dragon {n}"


def embedding_of(shop: Rig, seed: int) -> NDArray[np.float32]:
    """The embedding of a photo, float32 [dim]."""
    pixels = decode_photo(photo(seed), shop.engine.manifest.preprocess).pixels
    found: NDArray[np.float32] = shop.engine.infer(pixels[None]).embedding[0]
    return found


@pytest.fixture(scope="module")
def dragons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    home = tmp_path_factory.mktemp("dragons")
    with rig(home) as made:
        for seed in range(12):
            made.add(f"l/{seed:02}", {"a": photo(seed)}, category="old" if seed % 2 else "new", title=f"xylo {seed}")
        made.indexed(12)
        vectors = {text: embedding_of(made, seed) for text, seed in TEXTS.items()}
        vectors |= {between(n): embedding_of(made, 5) + embedding_of(made, n) for n in range(12)}
        tower = TextTower(Table(vectors, made.engine.manifest.embedding.dim), layer_of(home / "bundle"))
        with served(made, tower=tower):
            until(lambda: made.health.ready and ask(made, "red")["complete"])
            yield made


def ask(shop: Rig, q: str, query: str = "") -> dict[str, Any]:
    status, answer = shop.search(json.dumps({"q": q}).encode(), query, "application/json")
    assert status == 200
    return dict(answer)


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["listing_id"] for one in answer["listings"]]


def understood(answer: dict[str, Any]) -> list[str]:
    return [one["understood"] for one in answer["query"]["phrases"]]


def test_words_that_no_label_means_find_the_nearest_photos(dragons: Rig) -> None:
    answer = ask(dragons, "wobbly dragon", "?k=4")
    by_photo = dragons.search(photo(5), "?k=4")[1]["neighbours"]
    assert set(ids(answer)) == {one["listing_id"] for one in by_photo}
    assert ids(answer)[0] == "l/05"
    relevances = [one["relevance"] for one in answer["listings"]]
    assert relevances == sorted(relevances, reverse=True)
    assert relevances[0] > 0.95
    assert set(understood(answer)) == {"text"}
    assert ids(ask(dragons, "velvet comet", "?k=1")) == ["l/07"]
    filtered = ids(ask(dragons, "wobbly dragon", "?k=12&category=new"))
    assert filtered
    assert {int(name[2:]) % 2 for name in filtered} == {0}


def test_the_best_photo_is_found_where_another_one_has_a_nearer_hash(dragons: Rig) -> None:
    """The few that are shown are the first of those that are ordered by the embedding, not the nearest by hash."""
    layer = layer_of(dragons.home / "bundle")
    own = [embedding_of(dragons, seed) for seed in range(12)]
    turned = 0
    for n in range(12):
        whole = ids(ask(dragons, between(n), "?k=12"))
        assert len(whole) == 12
        asked = layer.weight @ (own[5] + own[n]) > 0
        bits = {f"l/{seed:02}": int(((layer.weight @ one > 0) != asked).sum()) for seed, one in enumerate(own)}
        likest = {f"l/{seed:02}": float(one @ (own[5] + own[n]) / np.linalg.norm(one)) for seed, one in enumerate(own)}
        if bits[max(likest, key=lambda name: likest[name])] > min(bits.values()):
            turned += 1
            assert ids(ask(dragons, between(n), "?k=1")) == whole[:1]
        assert ids(ask(dragons, between(n), "?k=3")) == whole[:3]
    assert turned, "of some text the hash alone would show another photo"


@pytest.mark.parametrize("word", ["broken", "misshapen"])
def test_titles_answer_if_the_model_fails(dragons: Rig, word: str) -> None:
    with_title, alone = ask(dragons, f"xylo {word}", "?k=12"), ask(dragons, word)
    assert (len(ids(with_title)), understood(with_title)) == (12, ["title", "no"])
    assert (ids(alone), understood(alone)) == ([], ["no"])


def test_the_log_says_once_that_the_model_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    no_finder: Any = None
    texts = TextSearch(TextTower(Table({}, 3), layer_of(tmp_path / "bundle")), no_finder)
    assert [texts.find(text, 5, ANY) for text in ("broken", "misshapen", "broken")] == [[], [], []]
    (line,) = [one.getMessage() for one in caplog.records if one.name.endswith("text_model")]
    assert line == "search.text_model failed, and queries are answered without it: RuntimeError('planted')"


def test_beside_a_photo_nothing_is_understood_by_the_text_model(dragons: Rig) -> None:
    multipart, kind = urllib3.encode_multipart_formdata({"q": "wobbly dragon", "photo": ("p.jpg", photo(5))})
    status, answer = dragons.search(multipart, content_type=kind)
    assert status == 200
    assert "text" not in understood(answer)


def test_a_label_needs_no_text_model_and_an_unknown_text_finds_nothing(dragons: Rig) -> None:
    with_label = ask(dragons, "red wobbly dragon", "?k=12&titles=false")
    assert understood(with_label) == ["label", "no", "no"]
    assert set(ids(with_label)) == set(ids(ask(dragons, "red", "?k=12&titles=false")))
    assert ids(ask(dragons, "xyzzy")) == []


def test_a_model_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    layer = layer_of(tmp_path / "bundle")
    assert TextTower(Table({}, layer.weight.shape[1]), layer).read("xyzzy") is None
    here = "tests.workers.search.typed.test_text_model"
    for name, why in (
        (f"{here}:short", r"it answers \[3\]"),
        (f"{here}:nobody", "AttributeError"),
        ("no_such_package:make", "ModuleNotFoundError"),
        (here, "write package.module:factory"),
    ):
        with pytest.raises(ConfigError, match=why):
            load_text_tower(name, layer)
    with pytest.raises(ConfigError, match="no hash layer"):
        load_text_tower(f"{here}:short", read_hash_layer(load_bundle(tmp_path / "bundle")))
