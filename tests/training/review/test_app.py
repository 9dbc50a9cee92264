"""The review service over HTTP: decisions, undo, photos, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from PIL import Image

from tests.training.review.rig import boxes_item, photo, review
from training.review import Item, Queue

BOX = (0.2, 0.2, 0.6, 0.7)
JSON = {"content-type": "application/json"}
SIDE_BY_SIDE = {"question": "Leave some out?", "choices": ("yes", "no")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    photo(tmp_path / "photos" / "a.jpg", [BOX])
    photo(tmp_path / "photos" / "shelf" / "b.jpg", [])
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    photo(tmp_path / "secret.jpg")
    (tmp_path / "photos" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    return tmp_path / "photos"


@pytest.fixture
def url(tmp_path: Path, root: Path) -> Iterator[str]:
    items = [
        boxes_item("a.jpg", BOX),
        Item(id="pair", kind="duplicates", photos=("a.jpg", "shelf/b.jpg"), **SIDE_BY_SIDE),
        Item(id="bad", kind="noise", photos=("broken.jpg", "link.jpg", "../secret.jpg", "gone.jpg"), **SIDE_BY_SIDE),
    ]
    with review(tmp_path / "queue", root, items) as server:
        yield server.url


def get(url: str, **headers: str):
    return urllib3.request("GET", url, headers=headers, retries=False)


def own(url: str, path: str):
    """A GET as the page does it, with the name of the run in the address."""
    return get(f"{url}/v1/{get(f'{url}/v1/queue').json()['run']}/{path}")


def post(url: str, body: object, headers: dict[str, str] | None = None):
    return urllib3.request("POST", url, body=json.dumps(body), headers=JSON | (headers or {}), retries=False)


def decision(**changes) -> dict:
    boxes = [{"box": [0.1, 0.1, 0.5, 0.5], "kind": "mug", "was": None}]
    return {"item": "a.jpg", "choice": "right", "value": {"boxes": boxes}, "seconds": 3.0} | changes


def test_a_decision_is_stored_shown_and_undone(url: str, tmp_path: Path) -> None:
    assert get(f"{url}/v1/queue").json()["items"][0] == ["a.jpg", "boxes", "open"]
    assert post(f"{url}/v1/decide", decision(choice="draft")).status == 200
    assert post(f"{url}/v1/decide", decision()).json()["counts"] == {"right": 1, "open": 2}
    assert own(url, "items/0").json()["decision"]["value"] == decision()["value"]
    (stored,) = Queue(tmp_path / "queue", read_only=True).decisions()
    assert (stored.item, stored.choice, stored.seconds) == ("a.jpg", "right", 3.0)
    assert post(f"{url}/v1/undo", {}).json() == {"item": 0, "state": "draft", "counts": {"draft": 1, "open": 2}}
    assert post(f"{url}/v1/undo", {}).json()["state"] == "open"
    assert post(f"{url}/v1/undo", {}).json()["item"] is None
    assert own(url, "items/0").json()["decision"] is None


def test_a_photo_comes_upright_small_and_without_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    Image.new("RGB", (3000, 1000), (90, 20, 20)).save(tmp_path / "lying.jpg", exif=exif)
    with review(tmp_path / "queue", tmp_path, [boxes_item("lying.jpg")]) as server:
        for size, long_side in (("large", 1280), ("small", 160)):
            shown = Image.open(io.BytesIO(own(server.url, f"photos/0/0/{size}").data))
            assert max(shown.size) == shown.height == long_side
            assert not shown.getexif()


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_what_is_no_photo_of_the_folder_is_not_shown(url: str, k: int) -> None:
    """A broken file, a link that leads out, a path that leads out, and a missing file."""
    answer = own(url, f"photos/2/{k}/large")
    assert answer.status == 422
    assert "cannot be shown" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    ["photos/0/1/large", "photos/9/0/large", "photos/0/0/4000", "items/9", "../page/..%2f..%2fapp.py", "../../x"],
)
def test_other_paths_lead_nowhere(url: str, path: str) -> None:
    assert own(url, path).status == 404


def test_addresses_of_one_run_are_unknown_to_another_and_cannot_be_guessed(tmp_path: Path, root: Path) -> None:
    items, runs = [boxes_item("a.jpg", BOX)], []
    for _ in range(2):
        with review(tmp_path / "queue", root, items) as server:
            runs.append(get(f"{server.url}/v1/queue").json()["run"])
            for path in ("items/0", "photos/0/0/large"):
                for run in ("", "0", "é", *runs):
                    answer = get(f"{server.url}/v1/{run}/{path}")
                    assert answer.status == (200 if run == runs[-1] else 404), (run, path)
                    if run in runs[:-1]:
                        assert "load the page again" in answer.json()["detail"]
            shown = own(server.url, "photos/0/0/small")
            assert shown.headers["cross-origin-resource-policy"] == "same-origin"
    assert runs[0] != runs[1]
    assert all(len(run) >= 22 for run in runs)  # 128 bits


def test_what_is_stored_is_what_a_later_run_reads(url: str, tmp_path: Path) -> None:
    """Numbers as text are numbers everywhere, also where nothing converts them again."""
    was = {"box": ["0", 0, 1, "1"], "kind": "mug", "score": "0.5"}
    boxes = [{"box": ["0.25", "0", 1, 1], "kind": "mug", "was": was}]
    assert post(f"{url}/v1/decide", decision(value={"boxes": boxes})).status == 200
    assert post(f"{url}/v1/decide", decision(item="pair", choice="yes", value={"marked": ["1"]})).status == 200
    fresh = [own(url, f"items/{n}").json()["decision"]["value"] for n in (0, 1)]
    was = {"box": [0.0, 0.0, 1.0, 1.0], "kind": "mug", "score": 0.5, "source": ""}
    assert fresh == [{"boxes": [{"box": [0.25, 0.0, 1.0, 1.0], "kind": "mug", "was": was}]}, {"marked": [1]}]
    assert [made.value for made in Queue(tmp_path / "queue", read_only=True).decisions()] == fresh


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"host": "evil.example"}, 421),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_another_site_can_change_nothing(url: str, headers, status) -> None:
    for path, body in (("decide", decision()), ("undo", {})):
        assert post(f"{url}/v1/{path}", body, headers).status == status
    counts = get(f"{url}/v1/queue").json()["counts"]
    assert counts == {"open": 3}


def test_the_pages_own_origin_may(url: str) -> None:
    assert post(f"{url}/v1/decide", decision(), {"origin": url}).status == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (decision(item="c.jpg"), 404, "no such item"),
        (decision(choice="perhaps"), 422, "right, skip"),
        (decision(value={"boxes": [{"box": [0.1, 0.1, 1.2, 0.5], "kind": "mug"}]}), 422, "left and right"),
        (decision(value={"boxes": [{"box": [0.1, 0.1, 0.1, 0.5], "kind": "mug"}]}), 422, "left and right"),
        (decision(value={"boxes": [{"box": [0.1, 0.1, 0.2, 0.5], "kind": ""}]}), 422, "kind"),
        (decision(value={"marked": [0]}), 422, "value"),
        (decision(item="pair", choice="yes", value={"marked": [2]}), 422, "marked"),
        ({"choice": "right"}, 400, "item"),
        (decision(value={"boxes": [{"box": [0, 0, 1, 1], "kind": "m" * 1_000_000}]}), 413, "bytes"),
    ],
)
def test_a_wrong_decision_is_refused_with_the_field(url: str, body, status, said) -> None:
    answer = post(f"{url}/v1/decide", body)
    assert answer.status == status
    assert said in answer.json()["detail"]
    assert get(f"{url}/v1/queue").json()["counts"] == {"open": 3}
