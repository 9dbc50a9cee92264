from __future__ import annotations

from collections import Counter

import pytest
from scipy.stats import binomtest

from groknet.gallery.failing import categories, groups, newest, sure_failures
from groknet.gallery.page import unanswered_page
from workers.search.kept.ledger import KeptSearch


def search(code: int, *, close: bool = False, category: str | None = None, **fields: object) -> KeptSearch:
    values = {"at": 1_790_000_000, "epoch": "e", "likeness": 0.1} | fields
    return KeptSearch(hash=f"{code:064x}", close=close, category=category, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("failed", "searches"), [(0, 5), (1, 1), (2, 2), (20, 20), (50, 100), (3, 7)])
def test_the_sure_failures_are_wilsons_lower_bound(failed: int, searches: int) -> None:
    interval = binomtest(failed, searches).proportion_ci(confidence_level=0.9, method="wilson")
    assert sure_failures(failed, searches) == pytest.approx(searches * interval.low, abs=2e-3 * searches)
    assert sure_failures(0, 0) == 0.0


def test_categories_that_surely_miss_most_come_first() -> None:
    searches = [search(i, category="lamps", close=i % 2 == 0) for i in range(100)]
    searches += [search(i, category="vases") for i in range(2)]
    searches += [search(i, category="mugs", close=True) for i in range(500)]
    searches += [search(1)]
    found = categories(searches, Counter({"mugs": 40, "chairs": 3}))
    assert [(row.category, row.searches, row.failed, row.listings) for row in found] == [
        ("lamps", 100, 50, 0),
        ("vases", 2, 2, 0),
        ("(no category)", 1, 1, 0),
        ("mugs", 500, 0, 40),
        ("chairs", 0, 0, 3),
    ]


def test_groups_name_what_they_look_like_and_how_they_fail() -> None:
    sofas = [search((1 << i) - 1, category="sofas" if i else None, likeness=i / 10, close=i == 3) for i in range(4)]
    others = [search((1 << 200) - 1, category="mugs", close=True)]
    first, second = groups([*others, *sofas], 8)
    assert (first.searches, first.failed, first.category, first.likeness) == (4, 3, "sofas", pytest.approx(0.15))
    assert (second.searches, second.failed) == (1, 0)


def test_only_one_epoch_and_the_newest_are_looked_at() -> None:
    kept = [search(1), search(2, epoch="old"), search(3), search(4)]
    searches, older = newest(kept, "e", most=2)
    assert ([int(one.hash, 16) for one in searches], older) == ([3, 4], 1)


def test_the_page_shows_photos_and_no_markup_of_strangers() -> None:
    page = unanswered_page(groups([search(1, category="<script>x</script>", photo=b"RIFF")], 8))
    assert "<script" not in page
    assert "data:image/webp;base64,UklGRg==" in page
    assert "There are none" in unanswered_page([])
