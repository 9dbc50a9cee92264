"""The query box in a real browser: by keyboard, alone and beside a photo, what was understood, and hostile text."""

from __future__ import annotations

from tests.browser.driver import PHONE, Visit
from tests.browser.test_page import GRID
from tests.workers.indexer.running import until
from tests.workers.search.http.routes.test_typed_routes import held
from tests.workers.search.rig import Rig, photo, served


def _typed(v: Visit, text: str):
    v.page.fill("#words-text", text)
    return v.searched(lambda: v.page.press("#words-text", "Enter"))


def test_words_find_listings_and_the_page_says_what_it_understood(visit, shop: Rig):
    until(lambda: held(shop) == 40)
    with visit(shop.server.url) as v:
        found = _typed(v, "rred thing 7 xyzzy").answer
        labels = [card.get_attribute("aria-label") for card in v.page.locator(GRID).all()]
        assert len(labels) == len(found["listings"]) > 0
        assert all(label.endswith("fitting") for label in labels)
        assert [label.partition(",")[0] for label in labels] == [
            one["title"] or one["listing_id"] for one in found["listings"]
        ]
        told = v.page.inner_text("#understood")
        assert "Only titles are searched for: “thing”, “7”." in told
        assert "“xyzzy”" in told.partition("Not understood")[2]
        assert v.page.is_hidden("#preview")
        assert "best first" in v.page.inner_text("#took")


def test_words_beside_a_photo_narrow_it_and_can_be_taken_back(visit, shop: Rig):
    until(lambda: held(shop) == 40)
    with visit(shop.server.url) as v:
        plain = v.upload(photo(7, 160)).answer
        both = _typed(v, "blue")
        assert both.query["q"] == "blue"
        assert both.answer["query"]["phrases"][0]["understood"] == "label"
        assert "Like this, and" in v.page.inner_text("#words-label")
        assert v.page.is_visible("#preview")
        again = _typed(v, "").answer
        assert again["query"] is None
        assert [n["listing_id"] for n in again["neighbours"]] == [n["listing_id"] for n in plain["neighbours"]]
        v.page.click("#home")
        assert v.page.is_visible("#start")
        assert v.page.input_value("#words-text") == ""


def test_hostile_words_are_shown_as_text(visit, shop: Rig):
    until(lambda: held(shop) == 40)
    with visit(shop.server.url) as v:
        _typed(v, "<img src=x onerror=alert(1)> \u202eder")
        assert v.page.locator("#understood img").count() == 0
        v.page.fill("#words-text", "a" * 500)
        assert len(v.page.input_value("#words-text")) == 200


def test_a_phone_and_a_service_without_typed_queries(visit, shop: Rig):
    with visit(shop.server.url, **PHONE) as v:
        box = v.page.locator("#words-text").bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert v.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with served(shop, max_typed_listings=0), visit(shop.server.url) as v:
        assert v.page.is_hidden("#words")
