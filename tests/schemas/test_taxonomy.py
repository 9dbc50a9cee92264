"""Ids that are made from a label's text, and taxonomies that are refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from schemas.taxonomy import MARKET, Taxonomy, TaxonomyHead, TaxonomyLabel, load_taxonomy, slug


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mugs & Cups", "mugs-cups"),
        ("  Größe XL ", "groe-xl"),  # ß has no ASCII form and is left out
        ("crème brûlée", "creme-brulee"),
        ("a__b--c", "a-b-c"),
        ("茶碗", "x"),
        ("", "x"),
        ("y" * 200, "y" * 100),
    ],
)
def test_slugs(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_a_slug_of_a_slug_is_itself() -> None:
    for label in (label for head in load_taxonomy(MARKET).heads for label in head.labels):
        assert slug(slug(label.value)) == slug(label.value)


def head(id_: str, *labels: str) -> TaxonomyHead:
    named = [TaxonomyLabel(id=label, value=label.title()) for label in labels]
    return TaxonomyHead(id=id_, kind="softmax", column="colour", datasets=["shop"], labels=named)


def test_ids_are_unique_within_a_taxonomy_and_within_a_head() -> None:
    assert len(Taxonomy(heads=[head("colour", "red", "blue"), head("size", "red")]).heads) == 2
    with pytest.raises(ValueError, match="heads: colour is there twice"):
        Taxonomy(heads=[head("colour", "red"), head("colour", "blue")])
    with pytest.raises(ValueError, match=r"heads\[colour\]\.labels: two labels share one id"):
        Taxonomy(heads=[head("colour", "red", "red")])


def test_a_file_comes_back_as_it_was_written_and_a_wrong_field_is_named(tmp_path: Path) -> None:
    path, taxonomy = tmp_path / "t.json", Taxonomy(heads=[head("colour", "red", "blue")])
    path.write_bytes(msgspec.json.encode(taxonomy))
    assert load_taxonomy(path) == taxonomy
    path.write_bytes(path.read_bytes().replace(b"softmax", b"sigmoid"))
    with pytest.raises(msgspec.ValidationError, match=r"heads\[0\]\.kind"):
        load_taxonomy(path)
