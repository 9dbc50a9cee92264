"""The review page in a real browser: boxes by pointer and by keys, autosave, undo, side by side, ten thousand items."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.driver import Visit
from tests.training.review.rig import boxes_item, photo, review
from training.review import Item, Queue

FIRST, SECOND = (0.1, 0.2, 0.4, 0.7), (0.6, 0.2, 0.9, 0.6)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        photo(tmp_path / "photos" / f"{name}.jpg", [FIRST, SECOND])
    return tmp_path / "photos"


@contextmanager
def opened(visit: Any, queue: Path, root: Path, items: list[Item] | None = None) -> Iterator[Visit]:
    with review(queue, root, items) as server, visit(server.url) as v:
        yield v


def stored(v: Visit, queue: Path, item: str = "a.jpg") -> tuple[str, list[dict[str, Any]]] | None:
    """What is on the disk about an item, once everything is saved."""
    v.page.wait_for_selector("#status[data-state=ready]")
    made = Queue(queue, read_only=True).decision(item)
    return None if made is None else (made.choice, made.value["boxes"])


def drag(v: Visit, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place of the photo to another, both in shares."""
    v.page.wait_for_selector(".stage[data-ready]")
    area, mouse = v.page.locator(".stage").bounding_box(), v.page.mouse
    assert area is not None
    mouse.move(area["x"] + start[0] * area["width"], area["y"] + start[1] * area["height"])
    mouse.down()
    for part in (0.5, 1.0):
        x, y = (a + part * (b - a) for a, b in zip(start, end, strict=True))
        mouse.move(area["x"] + x * area["width"], area["y"] + y * area["height"])
    with v.page.expect_response("**/v1/decide"):
        mouse.up()


def test_boxes_are_drawn_moved_deleted_undone_and_are_there_after_a_reload(visit, root: Path, tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    near = lambda box: pytest.approx(box, abs=0.01)  # noqa: E731
    with opened(visit, queue, root, [boxes_item("a.jpg", FIRST), boxes_item("b.jpg")]) as v:
        drag(v, SECOND[:2], SECOND[2:])  # on empty ground: a new box
        choice, boxes = stored(v, queue)
        assert choice == "draft"
        assert boxes[0]["was"]["score"] == 0.6
        assert boxes[0]["box"] == list(FIRST)
        assert boxes[1]["was"] is None
        assert boxes[1]["box"] == near(SECOND)
        drag(v, (0.2, 0.4), (0.25, 0.5))  # inside the first one: it moves
        moved = (0.15, 0.3, 0.45, 0.8)
        assert stored(v, queue)[1][0]["box"] == near(moved)
        drag(v, (0.45, 0.8), (0.5, 0.9))  # its lower right corner: it grows
        grown = (0.15, 0.3, 0.5, 0.9)
        assert stored(v, queue)[1][0]["box"] == near(grown)
        with v.page.expect_response("**/v1/decide"):
            v.page.keyboard.press("Delete")
        assert [one["was"] for one in stored(v, queue)[1]] == [None]
        with v.page.expect_response("**/v1/undo"):
            v.page.keyboard.press("z")
        assert stored(v, queue)[1][0]["box"] == near(grown)
        v.until("document.querySelectorAll('.box').length === 2")
        v.page.reload()
        v.until("document.querySelectorAll('.box').length === 2")
        v.page.wait_for_selector("#status[data-state=ready]")
        assert v.page.get_attribute("body", "data-item") == "a.jpg"
        with v.page.expect_response("**/v1/decide"):
            v.page.keyboard.press("Enter")
        v.page.wait_for_selector("body[data-item='b.jpg']")
        assert v.page.inner_text("#counts") == "1 of 2 decided"
        choice, boxes = stored(v, queue)
        assert (choice, len(boxes)) == ("right", 2)
    with opened(visit, queue, root) as v:  # another process, another day
        assert v.page.get_attribute("body", "data-item") == "b.jpg"
        for _ in range(2):  # the decision, then the deletion's undoing was one step of its own: the growth
            with v.page.expect_response("**/v1/undo"):
                v.page.keyboard.press("z")
            v.page.wait_for_selector("body[data-item='a.jpg']")
        assert stored(v, queue)[0] == "draft"
        assert stored(v, queue)[1][0]["box"] == near(moved)


def test_everything_is_done_by_keys_alone(visit, root: Path, tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    with opened(visit, queue, root, [boxes_item("a.jpg", FIRST), boxes_item("b.jpg"), boxes_item("c.jpg")]) as v:
        press = v.page.keyboard.press

        def saved(*keys: str) -> list[dict[str, Any]]:
            with v.page.expect_response("**/v1/decide"):
                for key in keys:
                    press(key)
            return stored(v, queue)[1]

        added = saved("n")[1]
        assert (added["box"], added["kind"]) == ([0.35, 0.35, 0.65, 0.65], "mug")
        assert saved("2")[1]["kind"] == "vase"
        moved = saved("ArrowRight", "ArrowRight", "Alt+ArrowDown")[1]["box"]
        assert moved == pytest.approx([0.37, 0.4, 0.67, 0.7])
        sized = saved("Shift+ArrowLeft", "Shift+Alt+ArrowUp")[1]["box"]
        assert sized == pytest.approx([0.37, 0.4, 0.66, 0.65])
        v.page.focus(".box[data-place='0']")
        assert [one["kind"] for one in saved("Delete")] == ["vase"]
        press("c")
        v.page.keyboard.type("")
        v.page.fill("#kind", "teapot")
        assert [one["kind"] for one in saved("Enter")] == ["teapot"]
        press("j")
        v.page.wait_for_selector("body[data-item='b.jpg']")
        press("k")
        v.page.wait_for_selector("body[data-item='a.jpg']")
        with v.page.expect_response("**/v1/decide"):
            press("s")
        v.page.wait_for_selector("body[data-item='b.jpg']")
        assert stored(v, queue)[0] == "skip"
        found = Axe().run(v.page).response["violations"]
        assert [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]] == []


def test_photos_side_by_side_are_marked_and_decided(visit, root: Path, tmp_path: Path) -> None:
    queue, photos = tmp_path / "queue", ("a.jpg", "b.jpg", "c.jpg")
    items = [
        Item(
            id="group",
            kind="duplicates",
            photos=photos,
            question="Leave out the marked photos?",
            choices=("yes", "no"),
            proposal={"marked": [1, 2]},
        ),
        Item(
            id="two",
            kind="merge",
            photos=photos,
            question="One product?",
            choices=("one product", "two products"),
            proposal={"groups": [[0], [1, 2]], "names": ["Mug of Ann", "Mug of Bob"]},
        ),
    ]
    with opened(visit, queue, root, items) as v:
        v.until("document.querySelectorAll('.tile[aria-pressed=true]').length === 2")
        v.page.focus(".tile >> nth=0")
        v.page.keyboard.press("ArrowRight")
        with v.page.expect_response("**/v1/decide"):
            v.page.keyboard.press("Space")
        with v.page.expect_response("**/v1/decide"):
            v.page.keyboard.press("1")
        v.page.wait_for_selector("body[data-item='two']")
        assert v.texts(".groups h3") == ["Mug of Ann", "Mug of Bob"]
        with v.page.expect_response("**/v1/decide"):
            v.page.keyboard.press("2")
        v.page.wait_for_selector("#status:has-text('All is decided')")
        decided = {d.item: (d.choice, d.value) for d in Queue(queue, read_only=True).decisions()}
        assert decided == {"group": ("yes", {"marked": [2]}), "two": ("two products", {})}
        v.page.keyboard.press("z")
        v.until("document.getElementById('counts').textContent === '1 of 2 decided'")


def test_ten_thousand_photos_are_a_short_list(visit, root: Path, tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    photos = ("a.jpg", "b.jpg", "c.jpg")
    items = [
        Item(id=f"shelf/{n}", kind="boxes", photos=(photos[n % 3],), question="Right?", choices=("right", "skip"))
        for n in range(10_000)
    ]
    with opened(visit, queue, root, items) as v:
        rows = "document.querySelectorAll('.row').length"
        assert 5 < v.page.evaluate(rows) < 60
        v.page.evaluate("document.getElementById('list').scrollTop = 56 * 7000")
        v.page.wait_for_selector("#item-7003")
        assert v.page.evaluate(rows) < 60
        v.page.click("#item-7003")
        v.page.wait_for_selector("body[data-item='shelf/7003']")
        with v.page.expect_response("**/v1/decide"):
            v.page.keyboard.press("Enter")
        v.page.wait_for_selector("body[data-item='shelf/7004']")
        assert v.page.inner_text("#counts") == "1 of 10000 decided"


def test_a_change_that_comes_while_the_next_item_is_read_is_saved(visit, root: Path, tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    with opened(visit, queue, root, [boxes_item("a.jpg", FIRST), boxes_item("b.jpg")]) as v:
        held: list[Any] = []

        def hold(route: Any) -> None:
            held.append(route)

        v.page.route("**/items/1", hold)
        v.page.evaluate("window.setTimeout = () => 1")  # the pause after the last key lasts for ever
        with v.page.expect_request("**/items/1"):
            v.page.keyboard.press("j")
        v.page.focus(".box[data-place='0']")
        v.page.keyboard.press("ArrowRight")
        with v.page.expect_response("**/v1/decide"):
            held[0].continue_()
        v.page.wait_for_selector("body[data-item='b.jpg']")
        choice, boxes = stored(v, queue)
        assert (choice, boxes[0]["box"]) == ("draft", pytest.approx([0.11, 0.2, 0.41, 0.7]))
        assert stored(v, queue, "b.jpg") is None


def test_a_change_that_was_not_stored_is_stored_before_the_next_item_or_taken_back(
    visit, root: Path, tmp_path: Path
) -> None:
    queue = tmp_path / "queue"
    with opened(visit, queue, root, [boxes_item("a.jpg"), boxes_item("b.jpg"), boxes_item("c.jpg")]) as v:
        press = v.page.keyboard.press

        def full(route: Any) -> None:
            route.fulfill(status=507, json={"detail": "the disk is full"})

        v.page.route("**/v1/decide", full)
        press("n")
        v.page.wait_for_selector("#status[data-state=gone]")
        with v.page.expect_response("**/v1/decide"):
            press("j")  # it is tried again, in vain: the page stays
        v.page.wait_for_selector("#status[data-state=gone]")
        assert v.page.get_attribute("body", "data-item") == "a.jpg"
        v.page.unroute("**/v1/decide", full)
        press("j")
        v.page.wait_for_selector("body[data-item='b.jpg']")
        assert len(stored(v, queue)[1]) == 1
        v.page.route("**/v1/decide", full)
        press("n")
        v.page.wait_for_selector("#status[data-state=gone]")
        press("z")
        v.until("document.querySelectorAll('.box').length === 0")
        v.page.unroute("**/v1/decide", full)
        press("j")
        v.page.wait_for_selector("body[data-item='c.jpg']")
        assert stored(v, queue, "b.jpg") is None
