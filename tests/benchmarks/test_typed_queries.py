"""The figures of typed queries, against values worked out by hand."""

from __future__ import annotations

from benchmarks.search.typed_queries import Quality, Shop, TitleSearch, queries
from tests.engines.words.test_phrases import MANIFEST


def test_places_that_no_relevant_listing_could_take_do_not_count() -> None:
    counted = Quality()
    counted.add([5, 1, 2, 7], {1, 2, 3, 4})  # the first four places, of which two are right
    counted.add(list(range(100)), set(range(95, 305)))  # none of the first ten, and five of a hundred
    counted.add([], {1, 2, 3})
    assert counted.precision == [0.5, 0.0, 0.0]
    assert counted.recall == [0.5, 0.05, 0.0]


def test_queries_are_names_of_labels_that_several_rows_have() -> None:
    shop = Shop("s", {"kind": "kind", "colour": "colour"}, (("colour", "kind"),), "title")
    rows = [{"kind": "mug", "colour": "red"}] * 3 + [{"kind": "bottle", "colour": "red"}, {"kind": "?", "colour": ""}]
    assert queries(MANIFEST, shop, rows) == {"Mug": {0, 1, 2}, "red": {0, 1, 2, 3}, "red Mug": {0, 1, 2}}


def test_titles_are_ranked_by_their_words() -> None:
    search = TitleSearch(["Red mugs", "A blue mug", "", "red shoes, red laces", "vase"])
    assert search("red mug")[0] == 0
    assert set(search("red mug")) == {0, 1, 3}
