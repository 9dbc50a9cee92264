"""Inline data and file://: only regular files under an allowed folder, whatever links and dots say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schemas.errors import Invalid
from schemas.events import ImageRef
from workers.intake import Intake, IntakeSettings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """photos/ is allowed; secret.txt and photos-private/ lie beside it."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    (root / "a.jpg").write_bytes(b"A" * 100)
    (root / "sub" / "b c?.jpg").write_bytes(b"B")
    (root / "empty.jpg").write_bytes(b"")
    (root / "big.jpg").write_bytes(b"x" * 101)
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "photos-private").mkdir()
    (tmp_path / "photos-private" / "s.jpg").write_bytes(b"secret")
    (root / "link.jpg").symlink_to(tmp_path / "secret.txt")
    (root / "out").symlink_to(tmp_path / "photos-private")
    (root / "inside.jpg").symlink_to(root / "a.jpg")
    (root / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe.jpg")
    return root


def _intake(root: Path) -> Intake:
    return Intake(IntakeSettings(allowed_roots=(str(root),), max_bytes=100))


def _fetch(root: Path, url: str) -> bytes:
    return _intake(root).fetch(ImageRef(image_id="a", url=url))


def test_files_under_the_root_are_read(root: Path) -> None:
    assert _fetch(root, (root / "a.jpg").as_uri()) == b"A" * 100
    assert _fetch(root, (root / "sub" / "b c?.jpg").as_uri()) == b"B"
    assert _fetch(root, f"FILE://localhost{root}/sub/../a.jpg") == b"A" * 100
    assert _fetch(root, (root / "inside.jpg").as_uri()) == b"A" * 100


def test_a_root_that_is_itself_a_link_is_allowed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    assert _fetch(tmp_path / "alias", (root / "a.jpg").as_uri()) == b"A" * 100
    assert _fetch(tmp_path / "alias", (tmp_path / "alias" / "a.jpg").as_uri()) == b"A" * 100


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        ("/../secret.txt", "path_not_allowed"),
        ("/%2e%2e/secret.txt", "path_not_allowed"),
        ("/sub/..%2f..%2fsecret.txt", "path_not_allowed"),
        ("-private/s.jpg", "path_not_allowed"),
        ("/link.jpg", "path_not_allowed"),
        ("/out/s.jpg", "path_not_allowed"),
        ("/dangling.jpg", "path_not_allowed"),
        ("/../../../../../../etc/passwd", "path_not_allowed"),
        ("/../../../../../../dev/zero", "path_not_allowed"),
        ("", "path_not_allowed"),
        ("/sub", "not_a_file"),
        ("/pipe.jpg", "not_a_file"),
        ("/loop", "not_a_file"),
        ("/none.jpg", "file_not_found"),
        ("/none/none.jpg", "file_not_found"),
        ("/a.jpg/x", "path_not_allowed"),
        (f"/{'n' * 300}.jpg", "file_not_found"),
        ("/a.jpg%00.png", "bad_url"),
        ("/a.jpg?x=1", "bad_url"),
        ("/a.jpg#x", "bad_url"),
        ("/big.jpg", "too_large"),
        ("/empty.jpg", "empty"),
    ],
)
def test_everything_else_is_refused(root: Path, tail: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        _fetch(root, f"file://{root}{tail}")
    assert (caught.value.stage, caught.value.error) == ("fetch", code)


@pytest.mark.parametrize("url", ["file://server/share/a.jpg", "file:a.jpg", "file:", "file://[/a.jpg"])
def test_no_other_machine_and_no_relative_path(root: Path, url: str) -> None:
    with pytest.raises(Invalid) as caught:
        _fetch(root, url)
    assert caught.value.error == "bad_url"


def test_a_folder_swapped_for_a_link_after_the_check_is_not_followed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check sees a real folder; by the time of opening it is a link to the outside."""
    url = (root / "sub" / "s.jpg").as_uri()
    (root / "sub" / "s.jpg").write_bytes(b"fine")
    realpath = os.path.realpath

    def then_swap(path: str) -> str:
        real = realpath(path)
        if path == str(root):  # the last step of the check
            (root / "sub").rename(root / "moved")
            (root / "sub").symlink_to(tmp_path / "photos-private")
        return real

    monkeypatch.setattr(os.path, "realpath", then_swap)
    with pytest.raises(Invalid) as caught:
        _fetch(root, url)
    assert caught.value.error == "path_not_allowed"


def test_no_root_no_file(root: Path) -> None:
    with pytest.raises(Invalid) as caught:
        Intake(IntakeSettings()).fetch(ImageRef(image_id="a", url=(root / "a.jpg").as_uri()))
    assert caught.value.error == "path_not_allowed"


def test_inline_data() -> None:
    intake = Intake(IntakeSettings(max_bytes=4))
    assert intake.fetch(ImageRef(image_id="a", data=b"1234")) == b"1234"
    for data, code in [(b"12345", "too_large"), (b"", "empty")]:
        with pytest.raises(Invalid) as caught:
            intake.fetch(ImageRef(image_id="a", data=data))
        assert caught.value.error == code
