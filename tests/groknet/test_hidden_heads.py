"""Heads that an operator hides, against running workers: no row, message, answer, tag or page names them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import urllib3

from groknet.cli.exits import Exit
from groknet.home.paths import Home
from groknet.home.running import read_running
from schemas.topics import PREDICTIONS
from tests.engines.tiny_bundle import write_applying_bundle
from tests.groknet.conftest import START_S, Call, Cluster, start_all, write_photo
from workers.streams import build_stream

pytestmark = pytest.mark.slow

HIDDEN = """
[tagger]
hidden_heads = ["words"]
publish_predictions = true

[search]
hidden_heads = ["colour"]
"""


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_applying_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, gated: Path) -> Iterator[Cluster]:
    """Running workers: the tagger hides the words, the search hides the colour."""
    home = tmp_path_factory.mktemp("home")
    (home / "groknet.toml").write_text(HIDDEN)
    running = start_all(home, gated)
    try:
        running.wait_for("all workers are ready")
        yield running
    finally:
        running.stop()


def _ask(home: Path, method: str, path: str, body: bytes | None = None, kind: str = "image/jpeg") -> Any:
    running = read_running(Home(home), "search")
    assert running is not None
    answer = urllib3.request(method, running.url + path, body=body, headers={"content-type": kind})
    assert answer.status == 200, answer.data
    return json.loads(answer.data)


def test_a_hidden_head_is_stored_and_published_nowhere(groknet: Call, shop: Cluster, tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / f"{name}.jpg", seed) for seed, name in enumerate(("one", "two"))]
    assert groknet("submit", "--home", shop.home, "--wait", *photos).code == Exit.OK
    for entry in groknet("show", "--home", shop.home, "--json", "one", "two").lines:
        for row in (entry, *entry["images"]):
            assert set(row["predictions"]) == {"colour"}
            assert "words" not in row["applies"]
    assert "words" not in groknet("show", "--home", shop.home, "one").out
    with closing(build_stream(Home(shop.home).stream_url, "test").admin()) as admin:
        published = [record.value or b"" for record in admin.read(PREDICTIONS)]
    assert published
    for value in published:
        assert b"colour" in value
        assert b"words" not in value


def test_a_hidden_head_is_in_no_answer(groknet: Call, shop: Cluster, tmp_path: Path) -> None:
    file = write_photo(tmp_path / "three.jpg", 7)
    assert groknet("submit", "--home", shop.home, "--wait", file).code == Exit.OK
    photo, stored = file.read_bytes(), b'{"listing_id": "three"}'
    seen = _ask(shop.home, "POST", "/v1/search", photo)
    assert set(seen["predictions"]) == {"words"}  # what only the tagger hides, a photo that is not stored shows
    assert seen["applies"] == ["words"]
    answers = [
        seen,
        _ask(shop.home, "POST", "/v1/predict", photo),
        _ask(shop.home, "POST", "/v1/search", stored, "application/json"),
        _ask(shop.home, "POST", "/v1/listings:batch", b'{"listing_ids": ["three"]}', "application/json"),
        _ask(shop.home, "GET", "/v1/listings/three"),
        _ask(shop.home, "GET", "/v1/listings/three/similar"),
        _ask(shop.home, "GET", "/v1/recent"),
    ]
    labels = ("colour", "red", "green", "blue")
    for answer in answers:
        text = json.dumps(answer)
        assert not [label for label in labels if f'"{label}"' in text], answer


@pytest.mark.parametrize("section", ["tagger", "search"])
def test_an_unknown_head_is_refused_with_the_key_and_the_known_heads(
    groknet: Call, gated: Path, tmp_path: Path, section: str
) -> None:
    (tmp_path / "groknet.toml").write_text(f'[{section}]\nhidden_heads = ["colour", "gendre"]\n')
    options = ["--home", str(tmp_path), "--bundle", str(gated), "--port", "0"]
    alone = [sys.executable, "-m", "groknet", "run", section, *options]  # a worker is a process of its own
    ended = subprocess.run(alone, capture_output=True, text=True, timeout=START_S, check=False)
    said = [(ended.returncode, ended.stderr)]
    for command in (["run", "all"], ["demo", "--listings", "1"]):
        answer = groknet(*command, *options)
        said.append((answer.code, answer.err))
    for code, text in said:
        assert code == Exit.USAGE, text
        assert f"{section}.hidden_heads" in text
        assert "'gendre'" in text
        assert "colour, words" in text
