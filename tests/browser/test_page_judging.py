"""Right and wrong in a real browser: nothing is kept before the person agrees, and what is judged arrives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.browser.driver import Visit
from tests.workers.indexer.running import until
from tests.workers.search.rig import Rig, photo, served
from workers.search.kept.ledger import Ledger


@pytest.fixture
def keeping(shop: Rig) -> Iterator[Rig]:
    with served(shop, keep="photos", keep_days=7) as made:
        until(lambda: made.health.ready)
        yield made


def kept(shop: Rig) -> tuple[int, set[tuple[str, str, bool]]]:
    """The number of searches, and (listing, label, right) of each judgement."""
    with closing(Ledger(shop.home / "kept.db", days=7, most=1_000)) as ledger:
        judged = {(one.listing_id, one.label, one.right) for one in ledger.judgements()}
        return len(list(ledger.searches())), judged


def press(visit: Visit, selector: str) -> None:
    with visit.page.expect_response(lambda answer: "/v1/feedback" in answer.url) as caught:
        visit.page.click(selector)
    assert caught.value.status == 200
    visit.page.wait_for_selector(f"{selector}[aria-pressed=true]")


def test_labels_and_results_are_judged_after_the_person_agrees(visit, keeping: Rig):
    with visit(keeping.server.url) as v:
        found = v.upload(photo(7, 160)).answer
        v.page.click("#judge summary")
        assert "small copy of my photo for 7 days" in v.page.inner_text("#agree-text")
        head, label = next(
            (head, label) for head, labels in found["predictions"].items() for label in labels if label["offered"]
        )
        wrong = f"#judge-labels [aria-label='{label['name']}: wrong']"
        assert v.page.is_disabled(wrong)
        assert kept(keeping) == (0, set())
        v.page.check("#agree")
        press(v, wrong)
        v.page.click("#grid .card >> nth=0")
        press(v, "#judge-result [aria-label='The same product: right']")
        listing = found["neighbours"][0]["listing_id"]
        assert kept(keeping) == (0, {("", label["label"], False), (listing, "", True)})
        assert head in found["predictions"]
        v.page.click("#detail-close")
        v.upload(photo(8, 160))
        until(lambda: kept(keeping)[0] == 1)  # it is kept after the answer


def test_a_service_that_keeps_nothing_asks_nothing(visit, shop: Rig):
    with visit(shop.server.url) as v:
        v.upload(photo(7, 160))
        assert v.page.is_hidden("#judge")
        v.page.click("#grid .card >> nth=0")
        v.page.wait_for_selector("#detail[open]")
        assert v.page.is_hidden("#judge-result")
