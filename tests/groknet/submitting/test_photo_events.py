from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from groknet.cli.exits import CommandError
from groknet.submitting.photo_events import find_photos, is_old, listing_id, looks_like_photo, photo_event
from schemas.events import MAX_INLINE_BYTES, ImageRef, ListingEvent
from tests.groknet.conftest import write_photo
from workers.intake import Uploads

ALLOWED = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


@given(st.text(min_size=1, max_size=300).filter(lambda text: "\x00" not in text and text.isprintable()))
def test_every_path_makes_an_allowed_id(path: str) -> None:
    assert ALLOWED.fullmatch(listing_id(path))


@given(st.lists(st.text("aé_/ .", min_size=1, max_size=140), unique=True, max_size=30))
def test_different_paths_stay_different_listings(paths: list[str]) -> None:
    assert len({listing_id(path) for path in paths}) == len(paths)


def test_an_allowed_path_is_its_own_id() -> None:
    assert listing_id("shoes/2024/red-1") == "shoes/2024/red-1"


def test_a_folder_is_a_listing_a_photo_by_relative_path(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/c.JPEG", "a/d.webp", "a/.hidden.jpg", ".git/e.jpg"):
        write_photo(tmp_path / name, 1)
    (tmp_path / "notes.txt").write_text("no photo")
    found = find_photos([tmp_path])
    assert [(photo.listing_id, photo.path) for photo in found] == [
        ("b", tmp_path / "b.jpg"),
        ("a/c", tmp_path / "a/c.JPEG"),
        ("a/d", tmp_path / "a/d.webp"),
    ]
    assert [photo.listing_id for photo in find_photos([tmp_path / "a" / "c.JPEG"])] == ["c"]


def test_two_files_that_differ_in_extension_are_two_listings(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        write_photo(tmp_path / name, 1)
    assert [photo.listing_id for photo in find_photos([tmp_path])] == ["a", "a.png"]


def test_two_folders_that_would_overwrite_each_other_are_refused(tmp_path: Path) -> None:
    for name in ("x/1.jpg", "y/1.jpg"):
        write_photo(tmp_path / name, 1)
    with pytest.raises(CommandError, match="both listing 1; submit the folder above both"):
        find_photos([tmp_path / "x", tmp_path / "y"])


def test_an_event_follows_from_the_file_alone(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "in/1.jpg", 1)
    photo = find_photos([path])[0]
    event = photo_event(photo, tmp_path, [])
    assert event == photo_event(photo, tmp_path, [])
    assert event.event_time == path.stat().st_mtime_ns // 1000 == 1_700_000_000_123_456
    assert event.images[0].data == path.read_bytes()
    os.utime(path, ns=(0, 0))
    assert photo_event(photo, tmp_path, []).event_time == 946_684_800_000_000  # the beginning of 2000
    assert is_old(photo)


def test_a_photo_under_an_allowed_root_travels_by_address(tmp_path: Path) -> None:
    photo = find_photos([write_photo(tmp_path / "root/é 1.jpg", 1)])[0]
    image = photo_event(photo, tmp_path, [tmp_path / "root"]).images[0]
    assert image.url == photo.path.resolve().as_uri()
    assert image.data is None


def test_a_large_photo_travels_as_a_copy_that_its_removal_deletes(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    noise = Image.effect_noise((1200, 1200), 200)
    noise.save(tmp_path / "large.jpg", quality=95)
    noise.save(tmp_path / "other.jpg", quality=95)
    data = (tmp_path / "large.jpg").read_bytes()
    assert len(data) > MAX_INLINE_BYTES
    large, other = (photo_event(p, uploads, []) for p in find_photos([tmp_path]))
    copies = [Path(str(event.images[0].url).removeprefix("file://")) for event in (large, other)]
    assert [copy.read_bytes() for copy in copies] == [data, data]
    assert photo_event(find_photos([tmp_path / "large.jpg"])[0], uploads, []) == large  # the same photo: one copy
    gone = ListingEvent(event_id="e", listing_id="large", event_time=time.time_ns() // 1000 + 1, type="removed")
    Uploads(uploads).tidy([gone])
    assert [copy.exists() for copy in copies] == [False, True]


def test_a_changed_photo_leaves_one_copy_once_its_event_is_through(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    first, second = uploads.put("a", b"first", ".jpg"), uploads.put("a", b"second", ".jpg")
    other = uploads.put("b", b"first", ".jpg")
    for copy, at_s in ((first, 100), (second, 200), (other, 100)):
        os.utime(copy, (at_s, at_s))

    def event(copy: Path, at_s: int) -> ListingEvent:
        image = ImageRef(image_id="1", url=copy.resolve().as_uri())
        return ListingEvent(event_id="e", listing_id="a", event_time=at_s * 10**6, type="updated", images=[image])

    uploads.tidy([event(first, 90)])  # the copy for the newer event, which is not here yet, stays
    assert [copy.exists() for copy in (first, second, other)] == [True, True, True]
    uploads.tidy([event(second, 190)])
    assert [copy.exists() for copy in (first, second, other)] == [False, True, True]
    assert uploads.put("a", b"second", ".jpg") == second
    assert second.stat().st_mtime > 200  # needed again, as of now
    uploads.tidy([event(other, 10**10)])
    assert not second.parent.exists()
    assert other.exists()
    Uploads(tmp_path / "nowhere").tidy([event(other, 1)])


def test_a_folder_is_looked_at_by_content_and_the_rest_is_named(tmp_path: Path) -> None:
    """Files without a suffix, or with one that says nothing, are photos if they begin like one."""
    data = write_photo(tmp_path / "a.jpg", 1).read_bytes()
    for name in ("IMG_0001", "deep/mug.v2", "page.html"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"<html>" if name == "page.html" else data)
    (tmp_path / "events.ndjson").write_text("{}")
    (tmp_path / ".hidden").write_bytes(data)
    left: list[tuple[Path, list[str]]] = []
    found = find_photos([tmp_path], lambda folder, files: left.append((folder, [file.name for file in files])))
    assert sorted(photo.listing_id for photo in found) == ["IMG_0001", "a", "deep/mug.v2"]
    assert left == [(tmp_path, ["events.ndjson", "page.html"])]


def test_a_folder_without_a_photo_names_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CommandError, match=r"no photo in it .* but 1 other file: notes.txt"):
        find_photos([tmp_path])


HEADS = {
    b"\xff\xd8\xff\xe0": True,
    b"\x89PNG\r\n\x1a\n": True,
    b"RIFF\0\0\0\0WEBPVP8 ": True,
    b"\0\0\0\x18ftypheic": True,
    b"\0\0\0\x18ftypavif": True,
    b"RIFF\0\0\0\0WAVEfmt ": False,
    b"\0\0\0\x18ftypmp42": False,
    b"": False,
    b'{"a": 1}': False,
}


@pytest.mark.parametrize(("head", "photo"), HEADS.items())
def test_the_first_bytes_of_photos(head: bytes, photo: bool) -> None:
    assert looks_like_photo(head) is photo
