"""Nine hostile inputs in the midst of a hundred good ones: each harms only itself and says why."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from schemas.dead_letters import parse_dead_letter
from schemas.predictions import StoredListing
from tests.workers.tagger.rig import Rig, event, jpeg
from workers.intake import IntakeSettings

pytestmark = pytest.mark.slow


def png_of(width: int, height: int, scanlines: bytes) -> bytes:
    """A PNG whose header and data say what they like."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", scanlines) + chunk(b"IEND", b"")


def needless_bomb() -> bytes:
    """A harmless picture with a text chunk that would unpack to 200 MB. Nobody needs to unpack it."""
    text = b"comment\x00\x00" + zlib.compress(b"\x00" * 200_000_000, 9)
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "PNG")
    data = picture.getvalue()
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    return data[:33] + chunk + data[33:]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<html>not here</html>"
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Quiet."""


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("processes", [0, 2])
def test_a_hundred_stored_and_eight_dead_letters(make_rig, web: str, processes: int) -> None:
    intake = IntakeSettings(allowed_private=(web,), attempts=1)
    rig: Rig = make_rig(intake=intake, decode_processes=processes)
    whole = jpeg(10_000, (400, 300))
    bad = {
        "corrupt": (b"\xff\xd8\xff\xe0" + b"\x13" * 500, "decode"),
        "truncated": (whole[: len(whole) // 2], "decode"),
        "huge": (png_of(30_000, 30_000, zlib.compress(b"\x00" * 1000)), "decode"),
        "bomb": (png_of(8000, 8000, zlib.compress(b"\x00" * 192_008_000, 9)), "decode"),
        "html": (f"http://{web}/page.jpg", "decode"),
        "missing": (f"http://{web}/missing.jpg", "fetch"),
        "private": ("https://169.254.169.254/latest/meta-data", "fetch"),
    }
    good = [event(f"good/{i}", [jpeg(i)]) for i in range(100)]
    good.append(event("good/needless", [needless_bomb()]))
    hostile = [event(f"bad/{name}", [photo]) for name, (photo, _) in bad.items()]
    undecodable = b'{"listing_id": "broken", '
    rig.process(*good[:30], *hostile[:4], undecodable, *good[30:60], *hostile[4:], *good[60:])

    stored = {state.listing_id: state for state in rig.store.scan()}
    complete = {n for n, s in stored.items() if isinstance(s, StoredListing) and s.summary.status == "complete"}
    assert complete == {one.listing_id for one in good}
    letters = [(parse_dead_letter(record.headers), record) for record in rig.dead_letters()]
    found = {letter.listing_id: letter for letter, _ in letters}
    assert len(letters) == 8
    assert set(found) == {one.listing_id for one in hostile} | {None}
    for name, (_, stage) in bad.items():
        letter = found[f"bad/{name}"]
        assert (letter.stage, letter.image_id) == (stage, "0")
        assert letter.error
        assert len(letter.message) > 10
    assert found["bad/missing"].error == "http_404"
    assert found["bad/huge"].error == "too_many_pixels"
    assert found["bad/bomb"].error == "over_budget"
    assert found[None].stage == "decode"
    assert found[None].error == "undecodable"
    verbatim = {record.value for letter, record in letters if letter.listing_id is None}
    assert verbatim == {undecodable}
    for name in bad:
        state = stored[f"bad/{name}"]
        assert isinstance(state, StoredListing)
        assert state.summary.status == "dead"
        assert [b.error for b in state.summary.bad_images] == [found[f"bad/{name}"].error]
    assert {n for n, value in rig.hashes().items() if n.startswith("good/") and value} == complete
