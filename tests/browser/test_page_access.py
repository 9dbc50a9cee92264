"""The page without a mouse and without eyes: keys, focus, names, announcements, contrast in light and dark."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.driver import PHONE, Visit
from tests.workers.search.rig import Rig, photo


def _violations(visit: Visit) -> list[str]:
    """What axe-core finds, among it every text whose contrast is below 4.5 (3 where large)."""
    found = Axe().run(visit.page).response["violations"]
    return [f"{v['id']}: {node['html'][:120]} {node['failureSummary']}" for v in found for node in v["nodes"]]


def _focused(visit: Visit) -> str:
    script = "(at) => at.id || at.getAttribute('aria-label') || at.tagName"
    return str(visit.page.evaluate(f"({script})(document.activeElement)"))


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_nothing_at_any_step(visit, shop: Rig, look):
    options = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}[look]
    with visit(shop.server.url, reduced_motion="reduce", **options) as v:
        v.page.wait_for_selector("#strip .card")
        assert _violations(v) == []
        v.upload(photo(5, 160))
        v.page.evaluate("document.querySelectorAll('#work details').forEach((part) => { part.open = true; })")
        v.page.wait_for_selector("#draft-body:not([hidden])")
        v.page.focus("#frame")
        v.searched(lambda: v.page.keyboard.press("Shift+ArrowLeft"))
        assert _violations(v) == []
        v.page.locator("#grid .card").first.click()
        v.page.wait_for_selector("#detail[open]")
        assert _violations(v) == []
        v.page.keyboard.press("Escape")
        v.upload(b"nothing", "a.jpg")
        v.notice()
        assert _violations(v) == []


def test_keys_alone_frame_a_product_and_open_what_is_found(visit, shop: Rig):
    with visit(shop.server.url) as v:
        v.page.wait_for_selector("#strip .card")
        order = []
        for _ in range(8):
            v.page.keyboard.press("Tab")
            order.append(_focused(v))
        assert order == ["A", "home", "theme", "words-text", "words-go", "choose", "take", "pause"]
        v.upload(photo(5, 160))
        v.page.focus("#another")
        v.page.keyboard.press("Tab")
        assert _focused(v) == "frame"

        def keys(*names: str):
            return v.searched(lambda: [v.page.keyboard.press(name) for name in names])

        sized = keys(*["Shift+Control+ArrowLeft"] * 3, *["Shift+Control+ArrowUp"] * 4)
        assert sized.box == pytest.approx([0, 0, 0.7, 0.6], abs=1e-6)
        moved = keys("ArrowRight", "ArrowRight", "Control+ArrowDown")
        assert moved.box == pytest.approx([0.04, 0.1, 0.74, 0.7], abs=1e-6)
        name = v.page.get_attribute("#frame", "aria-label")
        assert name == "Frame around the product: 4 % to 74 % across, 10 % to 70 % down"
        v.until("document.getElementById('voice').textContent.startsWith('Frame searched.')")
        assert _focused(v) == "frame"
        v.page.focus("#grid .card")
        v.page.keyboard.press("Enter")
        v.page.wait_for_selector("#detail[open]")
        v.page.keyboard.press("Escape")
        assert _focused(v) == v.page.locator("#grid .card").first.get_attribute("aria-label")


def test_sliders_hold_the_frame_inside_the_photo(visit, shop: Rig):
    with visit(shop.server.url) as v:
        v.upload(photo(5, 160))
        v.page.locator("summary", has_text="edges").click()
        assert v.searched(lambda: v.page.locator("#edge-right").fill("40")).box == [0, 0, 0.4, 1]
        assert v.searched(lambda: v.page.locator("#edge-left").fill("90")).box == pytest.approx([0.32, 0, 0.4, 1])
        assert v.page.input_value("#edge-left") == "32"


def test_the_theme_is_chosen_and_kept(visit, shop: Rig):
    with visit(shop.server.url) as v:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = v.page.evaluate(ground)
        v.page.click("#theme")
        assert v.page.get_attribute("#theme", "aria-label") == "Colours: light. Change"
        assert v.page.evaluate(ground) == light
        v.page.click("#theme")
        dark = v.page.evaluate(ground)
        assert dark != light
        v.page.reload()
        assert v.page.evaluate(ground) == dark
        v.page.emulate_media(color_scheme="dark")
        v.page.click("#theme")
        assert v.page.get_attribute("#theme", "aria-label") == "Colours: as your system. Change"
        assert v.page.evaluate(ground) == dark
