"""What typed words mean, against labels chosen by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.words import LabelRef, Phrases
from engines.words.phrases import word_key
from schemas.errors import ConfigError
from schemas.manifest import Head, Label, Manifest, Preprocess, Training

NAMES = {
    "kind": [
        ("mug", {"en": "Mug", "de": "Becher", "ja": "マグカップ", "zh": "杯子", "th": "แก้ว"}),
        ("bottle", {"fr": "Bouteille"}),
        ("water bottle", {}),
        ("t-shirts", {"ru": "Футболка"}),
        ("dress", {"ar": "فستان"}),
        ("blueberry soyghurt", {}),
        ("vanilla soyghurt", {}),
    ],
    "colour": [("red", {"de": "Rot", "zh": "红色", "el": "Κόκκινο"}), ("blue", {"de": "Blau", "fr": "Bleu foncé"})],
    "words": [("red", {}), ("cosy", {})],
}


def head(name: str, labels: list[tuple[str, dict[str, str]]]) -> Head:
    made = [
        Label(id=value.replace(" ", "-"), index=i, value=value, display=display, merged=["beaker"] if i == 0 else [])
        for i, (value, display) in enumerate(labels)
    ]
    return Head(id=name, kind="softmax", column=name, datasets=["d"], output=name, labels=made)


MANIFEST = Manifest(
    name="words",
    model_version="words-1",
    epoch="0123456789ab",
    created="2026-11-30",
    preprocess=Preprocess(width=16, height=16),
    heads=[head(name, labels) for name, labels in NAMES.items()],
    training=Training(recipe="r", command="c"),
    files={},
)
PHRASES = Phrases(MANIFEST)


def read(text: str, phrases: Phrases = PHRASES, **options: bool) -> list[tuple[str, list[str]]]:
    return [(one.text, ["/".join(ref) for ref in one.labels]) for one in phrases.read(text, **options).phrases]


MUG, RED = ["kind/mug"], ["colour/red", "words/red"]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("red mug", [("red", RED), ("mug", MUG)]),
        ("RED  MUGS!", [("red", RED), ("mugs", MUG)]),
        ("ｒｅｄ mug", [("red", RED), ("mug", MUG)]),  # full-width letters
        ("rote Becher", [("rote", []), ("becher", MUG)]),
        ("water bottle", [("water bottle", ["kind/water-bottle"])]),  # not also a bottle
        ("bottle water", [("bottle", ["kind/bottle"]), ("water", ["kind/water-bottle"])]),
        ("waterbottles", [("waterbottles", ["kind/water-bottle"])]),
        ("t shirt", [("t shirt", ["kind/t-shirts"])]),
        ("tshirts", [("tshirts", ["kind/t-shirts"])]),
        ("soyghurt", [("soyghurt", ["kind/blueberry-soyghurt", "kind/vanilla-soyghurt"])]),
        ("bleu fonce", [("bleu fonce", ["colour/blue"])]),  # accents are often not typed
        ("κοκκινο", [("κοκκινο", ["colour/red"])]),
        ("футболка", [("футболка", ["kind/t-shirts"])]),
        ("فستان", [("فستان", ["kind/dress"])]),
        ("红色杯子", [("红色", ["colour/red"]), ("杯子", MUG)]),
        ("漂亮的红色杯子", [("漂亮的", []), ("红色", ["colour/red"]), ("杯子", MUG)]),
        ("แก้วสวย", [("แก้ว", MUG), ("สวย", [])]),
        ("ﾏｸﾞｶｯﾌﾟ", [("マグカップ", MUG)]),  # half-width kana
        ("dresses", [("dresses", ["kind/dress"])]),
        ("xyzzy", [("xyzzy", [])]),
        ("", []),
        ("🍵 \u202e\x00", []),
        (".*[red](mug)+?$", [("red", RED), ("mug", MUG)]),
        ("' OR 1=1 --", [("or", []), ("1", []), ("1", [])]),
    ],
)
def test_texts_are_understood(text: str, meaning: list[tuple[str, list[str]]]) -> None:
    assert read(text) == meaning


def test_typing_errors_are_understood_and_told() -> None:
    (phrase,) = PHRASES.read("botttle").phrases
    assert (phrase.labels, phrase.corrected) == ((LabelRef("kind", "bottle"),), "bottle")
    assert PHRASES.read("bottle").phrases[0].corrected is None
    assert PHRASES.read("botttle", exact=True).understood == []
    assert PHRASES.read("soyghurt", exact=True).understood == []


def test_merged_texts_and_synonyms_name_a_label() -> None:
    assert read("beaker")[0][1] == ["kind/mug", "colour/red", "words/red"]  # merged into the first label of each head
    more = Phrases(MANIFEST, {"kind/mug": ["teacup", "coffee cup"], "colour/red": ["scarlet"]})
    assert read("scarlet coffee cups", more) == [("scarlet", ["colour/red"]), ("coffee cups", MUG)]
    assert read("teacup") == [("teacup", [])]


def test_a_synonym_of_no_label_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"search\.synonyms: bundle words-1 has no label 'kind/cup'"):
        Phrases(MANIFEST, {"kind/cup": ["teacup"]})


def test_hidden_heads_are_not_known() -> None:
    fewer = Phrases(MANIFEST, {"words/cosy": ["snug"]}, hidden=["words"])
    assert read("red cosy snug", fewer) == [("red", ["colour/red"]), ("cosy", []), ("snug", [])]


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("shoes", "shoe"),
        ("berries", "berry"),
        ("dresses", "dress"),
        ("watches", "watch"),
        ("boxes", "box"),
        ("glass", "glass"),
        ("bus", "bus"),
        ("gas", "gas"),
        ("über", "uber"),
        ("кружки", "кружки"),
    ],
)
def test_plural_endings_and_accents_do_not_count(word: str, key: str) -> None:
    assert word_key(word) == key


@given(st.text(max_size=200))
def test_any_text_is_read_and_no_sign_is_lost_or_invented(text: str) -> None:
    phrases = PHRASES.read(text).phrases
    again = PHRASES.read(" ".join(one.text for one in phrases)).phrases
    assert "".join(one.text for one in again).replace(" ", "") == "".join(p.text for p in phrases).replace(" ", "")
