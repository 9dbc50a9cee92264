"""What goes wrong, as a person sees it: not an image, too large, a busy server, a server that is gone, a token."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from tests.browser.driver import Visit
from tests.workers.search.rig import Rig, photo, served

TOKEN = "a-token-of-sixteen-signs"


@contextmanager
def _other_service(shop: Rig, **settings):
    """The same shop behind a service with settings of its own."""
    before = shop.server, shop.health
    try:
        with served(shop, **settings):
            yield shop
    finally:
        shop.server, shop.health = before


def _give(visit: Visit, data: bytes, name: str = "a.jpg", kind: str = "image/jpeg") -> None:
    visit.page.set_input_files("#photo", files=[{"name": name, "mimeType": kind, "buffer": data}])


def test_what_is_not_an_image_is_said_and_the_way_back_is_open(visit, shop: Rig):
    with visit(shop.server.url) as v:
        found = v.upload(b"<html>no photo</html>", "page.jpg")
        assert found.status == 415
        assert "send a JPEG, PNG, WebP, HEIC or AVIF photo" in v.notice()
        assert v.page.get_attribute("#notice", "role") == "alert"
        assert v.page.is_visible("#choose")
        assert v.page.evaluate("document.activeElement.id") == "choose"
        assert v.page.is_hidden("#notice-again"), "the same photo would fail again"
        assert v.upload(photo(4, 160)).status == 200
        assert v.page.is_hidden("#notice")


def test_a_damaged_photo_is_said_to_be_damaged(visit, shop: Rig):
    with visit(shop.server.url) as v:
        assert v.upload(photo(1, 256)[:-800]).status == 422
        assert "send the whole file" in v.notice()


def test_a_photo_that_is_too_large_is_not_even_sent(visit, shop: Rig):
    with visit(shop.server.url) as v:
        sent = []
        v.page.on("request", lambda request: sent.append(request.url))
        _give(v, b"\xff\xd8" + b"\0" * 10_000_000)
        assert v.notice() == "This photo is too large: 10.1 MB of at most 10 MB. Choose a smaller one."
        assert not [url for url in sent if "/v1/search" in url]
        v.page.click("#notice-close")
        assert v.page.is_hidden("#notice")


def test_a_search_survives_a_server_that_goes_and_comes_back(visit, shop: Rig):
    with _other_service(shop) as other, visit(other.server.url) as v:
        port = other.server.port
        v.upload(photo(6, 160))
        other.server.stop()
        v.page.wait_for_selector("#status[data-state=gone]")
        assert v.page.inner_text("#status") == "Server gone"
        _give(v, photo(8, 160))
        assert "cannot be reached" in v.notice()
        assert v.page.is_visible("#notice-again")
        assert v.page.locator("#grid li").count() == 0, "what another photo found is not shown beside this one"
        with served(other, port=port):
            back = v.searched(lambda: None)
            assert back.status == 200
            assert v.page.locator("#grid .card").count() == 24
            assert v.page.is_hidden("#notice")
            v.page.wait_for_selector("#status[data-state=ready]")


def test_a_busy_server_is_asked_again_when_it_says_so(visit, shop: Rig):
    busy = '{"type": "urn:groknet:problem:busy", "detail": "32 photos are being searched for already"}'
    with visit(shop.server.url) as v:
        answers = [{"status": 503, "headers": {"retry-after": "1"}, "body": busy}]
        v.page.route("**/v1/search*", lambda route: route.fulfill(**answers.pop()) if answers else route.continue_())
        assert v.upload(photo(4, 160)).status == 503
        assert v.notice() == "32 photos are being searched for already. Trying again in 1 second."
        v.page.wait_for_selector("#grid .card")
        assert v.page.is_hidden("#notice")


def test_a_service_with_tokens_asks_for_one_and_shows_its_pictures(visit, shop: Rig):
    with _other_service(shop, tokens=[TOKEN]) as other, visit(other.server.url) as v:
        v.page.wait_for_selector("#token[open]")
        v.page.fill("#token-text", TOKEN)
        v.page.keyboard.press("Enter")
        v.page.wait_for_selector("#strip .card")
        assert v.upload(photo(4, 160)).status == 200
        v.until("document.querySelector('#grid .shot img').naturalWidth > 0")
        v.page.reload()
        v.page.wait_for_selector("#token[open]")


@pytest.mark.parametrize("what", ["text", "nothing"])
def test_pasting_what_is_no_photo_says_so(visit, shop: Rig, what):
    with visit(shop.server.url) as v:
        v.page.evaluate(
            """(what) => {
                const carried = new DataTransfer();
                if (what === "text") carried.setData("text/plain", "a mug");
                document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, clipboardData: carried }));
            }""",
            what,
        )
        assert "no photo on the clipboard" in v.notice()
