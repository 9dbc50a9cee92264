"""Products in the photo on the page: outlined, chosen by pointer and by key, dragged further, or none of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.boxes import DetectPlan
from tests.browser.driver import Visit
from tests.engines.colour_detector import ColourDetector, scene
from tests.workers.indexer.running import until
from tests.workers.search.rig import Rig, served
from workers.stages.detect import Looking

SIZE = (600, 400)
MUG, CHAIR = (60, 80, 260, 360), (380, 60, 500, 220)  # pixels; the mug is larger, so it is the subject
PHOTO = scene([("mug", MUG), ("chair", CHAIR)], SIZE)


@pytest.fixture(scope="module")
def finder(shop: Rig) -> Iterator[Rig]:
    """The shop's service with a detector."""
    detector = ColourDetector()
    plan = DetectPlan(mode="subject", detector_id=detector.detector_id, padding=0, threshold=0.5, most_boxes=1)
    with served(shop, looking=Looking(detector, plan, shop.engine.manifest.preprocess)):
        until(lambda: shop.health.ready)
        yield shop


def shares(place: tuple[int, int, int, int]) -> list[float]:
    return [edge / side for edge, side in zip(place, (*SIZE, *SIZE), strict=True)]


def pressed(v: Visit) -> list[str]:
    return [one.get_attribute("aria-pressed") or "" for one in v.page.locator("#found button").all()]


def click_at(v: Visit, across: float, down: float) -> None:
    area = v.page.locator("#stage").bounding_box()
    v.page.mouse.click(area["x"] + across * area["width"], area["y"] + down * area["height"])


def test_a_product_is_chosen_by_its_button_by_a_click_and_by_key(visit, finder: Rig):
    with visit(finder.server.url) as v:
        first = v.upload(PHOTO, "table.png", "image/png")
        assert first.query["detect"] == "nearest"
        assert first.answer["box"] is None, "of these listings, one is nearest to the whole photo"
        labels = [one.get_attribute("aria-label") for one in v.page.locator("#found button").all()]
        assert [text.partition(",")[0] for text in labels] == ["Product 1 of 2: Mug", "Product 2 of 2: Chair"]
        assert v.page.locator("#spots .spot").count() == 2
        assert pressed(v) == ["false", "false"]
        chosen = v.searched(lambda: v.page.locator("#found button").nth(0).click())
        assert chosen.box == pytest.approx(shares(MUG), abs=0.02)
        assert pressed(v) == ["true", "false"]
        chair = v.searched(lambda: v.page.locator("#found button").nth(1).click())
        assert chair.box == pytest.approx(shares(CHAIR), abs=0.02)
        assert "detect" not in chair.query
        assert pressed(v) == ["false", "true"]
        mug = v.searched(lambda: click_at(v, 0.27, 0.55))
        assert mug.box == pytest.approx(shares(MUG), abs=0.02)
        v.page.locator("#found button").nth(1).focus()
        again = v.searched(lambda: v.page.keyboard.press("Enter"))
        assert again.query["box"] == chair.query["box"]


def test_a_chosen_box_is_dragged_further_and_the_whole_photo_needs_no_detector(visit, finder: Rig):
    with visit(finder.server.url) as v:
        v.upload(PHOTO, "table.png", "image/png")
        v.searched(lambda: v.page.locator("#found button").nth(0).click())
        area = v.page.locator("#stage").bounding_box()
        corner = v.page.locator("#frame .se").bounding_box()
        v.page.mouse.move(corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2)
        v.page.mouse.down()
        v.page.mouse.move(area["x"] + 0.9 * area["width"], area["y"] + 0.97 * area["height"])
        dragged = v.searched(v.page.mouse.up)
        left, top, _, _ = shares(MUG)
        assert dragged.box == pytest.approx([left, top, 0.9, 0.97], abs=0.04)
        assert pressed(v) == ["false", "false"]
        v.page.locator("#frame").focus()
        moved = v.searched(lambda: v.page.keyboard.press("ArrowLeft"))
        assert moved.box[0] == pytest.approx(dragged.box[0] - 0.02, abs=0.001)
        whole = v.searched(lambda: v.page.click("#whole"))
        assert (whole.query["detect"], whole.answer["box"], whole.answer["detected"]) == ("off", None, [])
        assert v.page.locator("#found button").count() == 2, "they can still be chosen"


def test_a_photo_without_products_and_a_service_without_a_detector_show_none(visit, finder: Rig):
    with visit(finder.server.url) as v:
        empty = v.upload(scene([], SIZE), "empty.png", "image/png")
        assert (empty.query["detect"], empty.answer["detected"], empty.answer["box"]) == ("nearest", [], None)
        assert v.page.is_hidden("#found-products")
        assert v.page.is_disabled("#whole")
    with served(finder):
        until(lambda: finder.health.ready)
        with visit(finder.server.url) as v:
            assert "detect" not in v.upload(PHOTO, "table.png", "image/png").query
            assert v.page.is_hidden("#found-products")


def test_the_camera_s_frames_are_searched_together(visit, finder: Rig):
    with visit(finder.server.url, permissions=["camera"]) as v:
        if not v.page.evaluate("Boolean(navigator.mediaDevices?.getUserMedia)"):
            pytest.skip("this browser was built without cameras")
        v.page.click("#take")
        v.until("document.getElementById('camera-video').videoWidth > 0")
        taken = v.searched(lambda: v.page.click("#camera-take"))
        assert taken.status == 200
        assert 1 <= len(taken.answer["frames"]) <= 3
        assert set(taken.answer["frames"]) <= {0, 1, 2, 3}
        after = v.searched(lambda: v.page.click("#more"))
        assert after.answer["frames"] == [0], "from then on it is one photo"
