"""The page in a real browser: a photo in by every way, the frame, tags, the vote and its voters, results, the strip."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import pytest
from PIL import Image

from tests.browser.driver import PHONE, Visit
from tests.workers.search.rig import Rig, photo

GRID = "#grid .card"


def _listed(visit: Visit) -> list[str]:
    """Accessible names of the grid's cards, in order."""
    return [card.get_attribute("aria-label") or "" for card in visit.page.locator(GRID).all()]


def _same(visit: Visit, title: str) -> bool:
    """Whether the listing is among those whose hash is the photo's own; the tiny network gives a few the same one."""
    return any(label.startswith(f"{title},") for label in _listed(visit) if ", 100\u00a0% alike" in label)


def _alike(likeness: float) -> str:
    return f"{int(100 * likeness + 1e-9)}\u00a0% alike"


def test_a_chosen_photo_finds_its_listing_with_likeness_tags_and_the_vote(visit, shop: Rig):
    with visit(shop.server.url) as v:
        v.page.wait_for_selector("#strip .card")
        with v.page.expect_file_chooser() as chooser:
            v.page.click("#choose")
        file = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(7, 160)}
        found = v.searched(lambda: chooser.value.set_files(files=[file])).answer
        assert len(_listed(v)) == len(found["neighbours"]) == 24
        for label, neighbour in zip(_listed(v), found["neighbours"], strict=True):
            assert label.startswith(neighbour["title"] or neighbour["listing_id"])  # its id, if it has no title
            assert label.endswith(_alike(neighbour["likeness"]))
        likeness = [int(text.partition("\u00a0")[0]) for text in v.texts(f"{GRID} .near .num")]
        assert likeness == sorted(likeness, reverse=True)
        assert _same(v, "Thing 7")
        assert v.texts(f"{GRID} .near .num")[0] == _alike(1)
        assert v.page.is_hidden("#far")
        heads = {name: labels[0]["name"] for name, labels in found["predictions"].items()}
        shown = {name.text_content() for name in v.page.locator("#tags .label-name").all()}
        assert all({name, f"{name}, offered as a tag"} & shown for name in heads.values())
        winner = found["categories"][0]
        assert v.page.inner_text("#vote .winner strong") == winner["category"].capitalize()
        assert v.page.locator("#vote .voter").count() == min(6, len(winner["voters"]))
        v.until("document.querySelector('#grid .shot img').naturalWidth > 0")
        assert "24 similar listings" in v.page.text_content("#voice")


def test_more_results_and_a_category_are_asked_for(visit, shop: Rig):
    with visit(shop.server.url) as v:
        v.upload(photo(3, 160))
        more = v.searched(lambda: v.page.click("#more"))
        assert (more.query["k"], len(_listed(v))) == ("48", 40)
        assert v.page.is_hidden("#more")
        chosen = v.searched(lambda: v.page.select_option("#category", "mugs"))
        assert chosen.query["category"] == "mugs"
        assert len(_listed(v)) == 20
        assert {n["category"] for n in chosen.answer["neighbours"]} == {"mugs"}
        assert v.texts("#category option") == ["All categories", "Mugs", "Vases"]


def _dropped(v: Visit, kind: str) -> Callable[[], object]:
    data = base64.b64encode(photo(9, 160)).decode()
    script = """([data, kind]) => {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), carried = new DataTransfer();
        carried.items.add(new File([bytes], "x.jpg", { type: "image/jpeg" }));
        const many = { bubbles: true, cancelable: true };
        const event = (type) => type === "paste" ? new ClipboardEvent(type, { ...many, clipboardData: carried })
            : new DragEvent(type, { ...many, dataTransfer: carried });
        for (const type of kind === "paste" ? ["paste"] : ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(event(type));
    }"""
    return lambda: v.page.evaluate(script, [data, kind])


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_photo_is_pasted_or_dropped(visit, shop: Rig, kind):
    with visit(shop.server.url) as v:
        v.searched(_dropped(v, kind))
        assert _same(v, "Thing 9")
        assert v.page.is_hidden("#drop-here")


def test_a_photo_is_taken_with_the_machine_s_camera(visit, shop: Rig):
    with visit(shop.server.url, permissions=["camera"]) as v:
        if not v.page.evaluate("Boolean(navigator.mediaDevices?.getUserMedia)"):
            pytest.skip("this browser was built without cameras")
        v.page.click("#take")
        v.until("document.getElementById('camera-video').videoWidth > 0")
        taken = v.searched(lambda: v.page.click("#camera-take"))
        assert taken.status == 200
        assert v.page.evaluate("document.getElementById('camera-video').srcObject") is None
        v.page.click("#retake")
        v.page.wait_for_selector("#camera[open]")
        v.page.keyboard.press("Escape")
        v.page.wait_for_selector("#camera:not([open])", state="attached")


def test_the_frame_is_drawn_resized_and_moved_by_pointer(visit, shop: Rig):
    data = photo(5, 200)
    with visit(shop.server.url) as v:
        assert "box" not in v.upload(data).query
        area = v.page.locator("#stage").bounding_box()

        def drag(start: tuple[float, float], end: tuple[float, float]) -> list[float]:
            (x, y), mouse = (area["x"], area["y"]), v.page.mouse
            mouse.move(x + start[0] * area["width"], y + start[1] * area["height"])
            mouse.down()
            mouse.move(x + 0.5 * area["width"], y + 0.5 * area["height"])
            mouse.move(x + end[0] * area["width"], y + end[1] * area["height"])
            searched = v.searched(mouse.up)
            asked = shop.search(data, f"?k=24&box={searched.query['box']}")[1]
            assert [n["listing_id"] for n in asked["neighbours"]] == [
                n["listing_id"] for n in searched.answer["neighbours"]
            ]
            assert searched.answer["box"] == pytest.approx(searched.box)
            return searched.box

        assert drag((0.8, 0.9), (0.2, 0.3)) == pytest.approx([0.2, 0.3, 0.8, 0.9], abs=0.02)
        assert drag((0.2, 0.3), (0.1, 0.4)) == pytest.approx([0.1, 0.4, 0.8, 0.9], abs=0.02)
        assert drag((0.4, 0.6), (0.6, 0.1)) == pytest.approx([0.3, 0.0, 1.0, 0.5], abs=0.02)
        assert "box" not in v.searched(lambda: v.page.click("#whole")).query
        v.page.mouse.click(area["x"] + 30, area["y"] + 30)
        assert v.page.is_disabled("#whole"), "a click draws no frame"


def test_what_is_framed_is_what_is_searched(visit, shop: Rig):
    """Two photos side by side: the frame around the right one finds the right one's listing."""
    both = Image.new("RGB", (320, 160))
    for i, seed in enumerate((11, 13)):
        both.paste(Image.open(io.BytesIO(photo(seed, 160))), (160 * i, 0))
    file = io.BytesIO()
    both.save(file, "PNG")
    with visit(shop.server.url) as v:
        v.upload(file.getvalue(), "two.png", "image/png")
        v.page.focus("#edge-left")
        v.page.locator("summary", has_text="edges").click()
        searched = v.searched(lambda: v.page.locator("#edge-left").fill("50"))
        assert searched.box == pytest.approx([0.5, 0, 1, 1])
        assert any(label.startswith("Thing 13,") for label in _listed(v)[:3])
        assert v.page.get_attribute("#edge-left", "aria-valuetext") == "50 %"


def test_a_listing_opens_and_leads_to_more_like_it(visit, shop: Rig):
    with visit(shop.server.url) as v:
        v.page.wait_for_selector("#strip .card")
        shown = v.page.locator("#strip .card").first
        name = shown.locator("b").inner_text()
        shown.click()
        v.page.wait_for_selector("#detail[open]")
        assert v.page.inner_text("#detail-title") == name
        facts = dict(zip(v.texts("#detail-facts dt"), v.texts("#detail-facts dd"), strict=True))
        assert facts["State"] == "Active"
        assert facts["Searchable"].endswith("after upload")
        found = v.searched(lambda: v.page.click("#detail-similar"))
        assert found.status == 200
        assert found.answer["listing_id"] == facts["Listing"]
        assert facts["Listing"] not in {n["listing_id"] for n in found.answer["neighbours"]}
        assert v.page.is_hidden("#frame")
        v.page.click("#home")
        assert v.page.is_visible("#choose")


def test_a_seller_is_offered_category_attributes_and_words(visit, shop: Rig):
    with visit(shop.server.url) as v:
        v.upload(photo(2, 160))
        with v.page.expect_response(lambda r: "/v1/predict" in r.url) as caught:
            v.page.locator("#draft summary").click()
        v.page.wait_for_selector("#draft-body:not([hidden])")
        told = caught.value.json()
        for part in ("category", "attributes", "words"):
            chips, row = v.page.locator(f"#draft-{part} .chip"), v.page.locator(f".draft-row:has(#draft-{part})")
            assert row.is_visible() == (chips.count() > 0)
        assert v.page.locator("#draft-category .chip").count() <= max(1, min(3, len(told["category"])))


def test_the_live_strip_shows_a_listing_as_it_becomes_searchable(visit, shop: Rig):
    with visit(shop.server.url) as v:
        v.page.wait_for_selector("#strip .card")
        v.page.focus("#strip li:nth-child(2) .card")
        held = v.page.locator("#strip li:nth-child(2) .card").get_attribute("aria-label")
        shop.add("shop/fresh", {"a": photo(900, 160)}, title="Fresh from the kiln")
        v.page.wait_for_selector("#strip li:first-child >> text=Fresh from the kiln")
        card = v.page.locator("#strip li:first-child .card")
        assert "searchable in" in card.inner_text()
        assert "after upload" in (card.get_attribute("aria-label") or "")
        assert v.page.evaluate("document.activeElement.getAttribute('aria-label')") == held, "focus stays where it was"
        assert v.page.inner_text("#fresh-time").endswith(" s")
        assert "1 new listing" in v.page.text_content("#voice")
        v.page.click("#pause")
        with v.page.expect_response(lambda r: "/readyz" in r.url):  # the page goes on, the strip does not
            shop.add("shop/later", {"a": photo(901, 160)}, title="While it stood still")
        assert v.page.locator("#strip >> text=While it stood still").count() == 0
        v.page.click("#pause")
        v.page.wait_for_selector("#strip >> text=While it stood still")
        shop.remove("shop/later", 2)
        v.page.wait_for_selector("#strip >> text=While it stood still", state="detached")


def test_a_phone_takes_the_photo_itself_and_nothing_is_wider_than_it(visit, shop: Rig):
    with visit(shop.server.url, **PHONE) as v:
        with v.page.expect_file_chooser() as chooser:
            v.page.tap("#take")
        assert chooser.value.element.get_attribute("capture") == "environment"
        file = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(7, 160)}
        v.searched(lambda: chooser.value.set_files(files=[file]))
        assert _same(v, "Thing 7")
        assert v.page.evaluate("document.documentElement.scrollWidth") <= 390
        for target in ("#another", "#retake", "#pause", "#theme"):
            box = v.page.locator(target).bounding_box()
            assert min(box["width"], box["height"]) >= 36, target


def _knowing(words: dict[str, list[tuple[str, float, bool]]], applies: list[str] | None) -> dict[str, object]:
    """What an answer says of a photo: for each head its labels with probability and whether they are offered."""
    said = {
        head: [{"label": name, "name": name, "probability": p, "offered": offered} for name, p, offered in labels]
        for head, labels in words.items()
    }
    return {"predictions": said, "applies": applies}


def _with_answer(v: Visit, **fields: object) -> None:
    """Let the service answer the page's searches, with these fields changed."""

    def answer(route) -> None:
        got = route.fetch()
        route.fulfill(response=got, json=got.json() | fields)

    v.page.route("**/v1/search*", answer)


def test_only_heads_that_apply_are_shown_the_most_useful_first_and_tags_look_like_tags(visit, shop: Rig):
    said = {
        "fashion.article-type": [("Backpack", 0.97, True), ("Handbag", 0.02, False)],
        "fashion.colour": [("Teal", 0.8, True)],
        "query": [("backpack", 0.9, True), ("school", 0.7, True)],
        "fashion.season": [("Fall", 0.4, False)],
        "grocery.product": [("Oat milk", 0.7, True)],
    }
    with visit(shop.server.url) as v:
        _with_answer(v, **_knowing(said, [head for head in said if head != "grocery.product"]))
        v.upload(photo(7, 160))
        assert v.texts("#tags .tags .tag") == ["Backpack", "Teal", "school"]
        heads = v.page.locator("#tags > .heads > .head h3")
        assert [text.split("\n")[0] for text in heads.all_inner_texts()] == [
            "Article type fashion",
            "Colour fashion",
            "Query",
        ]
        assert "Oat milk" not in v.page.inner_text("#work")
        v.page.locator("#tags summary", has_text="1 more attribute").click()
        assert v.texts("#tags details .label-name") == ["Fall"]


@pytest.mark.parametrize(("applies", "guesses"), [(["object"], ["Tench", "Crane"]), ([], [])])
def test_nothing_known_is_an_answer(visit, shop: Rig, applies, guesses):
    said = {"object": [("Tench", 0.3, False), ("Crane", 0.2, False)], "grocery.product": [("Oat milk", 0.7, False)]}
    with visit(shop.server.url) as v:
        _with_answer(v, **_knowing(said, applies))
        v.upload(photo(7, 160))
        assert v.page.inner_text("#tags .unknown") == "Nothing is known for sure about this."
        assert v.page.locator("#tags .tag").count() == 0
        assert v.page.locator("#tags summary").count() == (1 if guesses else 0)
        if guesses:
            v.page.locator("#tags summary", has_text="See the guesses").click()
        assert v.texts("#tags .label-name") == guesses


def test_a_photo_without_close_listings_says_so_and_nobody_votes(visit, shop: Rig):
    with visit(shop.server.url) as v:
        v.upload(photo(7, 160))
        assert v.page.locator("#vote .winner").count() == 1
        _with_answer(v, close=False)
        v.upload(photo(8, 160))
        assert v.page.inner_text("#far") == "Nothing here looks much like this photo. The nearest are:"
        assert v.page.locator("#vote .winner").count() == 0
        assert len(_listed(v)) == 24
        assert "Nothing looks much like it" in v.page.text_content("#voice")


def test_a_listing_shows_its_photo_large_and_its_thumbnail_where_that_cannot_be_had(visit, shop: Rig):
    """The photo has 800 pixels and its thumbnail 320 at most; several photos are chosen from."""
    shop.add("shop/large", {"front": photo(50, 800), "side": photo(51, 700)}, title="Large")
    width = "document.querySelector('#detail .large')?.naturalWidth"
    with visit(shop.server.url) as v:
        v.page.wait_for_selector("#strip >> text=Large")
        v.page.locator("#strip .card", has_text="Large").click()
        v.until(f"{width} === 800")
        v.page.locator("#detail .other").nth(1).click()
        v.until(f"{width} === 700")
        assert v.page.get_attribute("#detail .large", "alt") == "Photo side of 2"
        assert v.page.get_attribute("#detail .other >> nth=1", "aria-pressed") == "true"
        v.page.keyboard.press("Escape")
        with v.page.expect_response(lambda r: "/v1/photo" in r.url) as asked:
            v.page.route("**/v1/photo*", lambda route: route.fulfill(status=404, body="{}"))
            v.page.locator("#strip .card", has_text="Large").click()
        assert asked.value.status == 404
        v.until(f"{width} > 0 && {width} <= 320")
    shop.remove("shop/large", 2)
