"""Memory and work of the worst photos that are taken, measured from outside: in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.pixels.worst_photos import WORST

ROOT = Path(__file__).parents[3]
SLACK_BYTES = 24 << 20  # what the allocator keeps for eight threads
# Decodes small photos of every format, so that all libraries are loaded, and then the photos of standard input at once.
# Prints the largest growth of resident memory, and each photo's outcome.
CHILD = """
import io, json, sys, threading
from pathlib import Path
from PIL import Image
import pillow_heif
from engines.pixels import decode_photo, limit_decode_memory
from schemas.errors import Invalid
from schemas.manifest import Preprocess

def status(name):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(name)) * 1024

def one(data, at):
    try:
        outcomes[at] = list(decode_photo(data, Preprocess(width=224, height=224)).pixels.shape)
    except Invalid as why:
        outcomes[at] = why.error

asked = json.loads(sys.stdin.read())
limit_decode_memory(asked["megabytes"])
pillow_heif.register_heif_opener()
for kind in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF"):
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), (9, 90, 190)).save(buffer, kind)
    outcomes = {}
    threads = [threading.Thread(target=one, args=(buffer.getvalue(), at)) for at in range(8)]
    [t.start() for t in threads], [t.join() for t in threads]
files = [Path(p).read_bytes() for p in asked["files"]]
before, outcomes = status("VmRSS"), {}
open("/proc/self/clear_refs", "w").write("5")  # the high-water mark begins here
threads = [threading.Thread(target=one, args=(data, at)) for at, data in enumerate(files)]
[t.start() for t in threads], [t.join() for t in threads]
print(json.dumps({"grown": status("VmHWM") - before, "outcomes": [outcomes[i] for i in range(len(files))]}))
"""


def decoded_in_a_process(files: list[Path], megabytes: int = 256) -> tuple[int, list[object]]:
    asked = json.dumps({"files": [str(path) for path in files], "megabytes": megabytes})
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=asked, cwd=ROOT, capture_output=True, text=True, check=True, timeout=280
    )
    found = json.loads(done.stdout)
    return found["grown"], found["outcomes"]


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WORST))
def test_a_photo_takes_no_more_than_its_header_lets_expect(name: str, tmp_path: Path) -> None:
    from engines.pixels.decode import cost_of
    from schemas.manifest import Preprocess

    path = tmp_path / "photo"
    path.write_bytes(WORST[name]())
    grown, outcomes = decoded_in_a_process([path])
    assert outcomes == [[224, 224, 3]]
    need = cost_of(path.read_bytes(), Preprocess(width=224, height=224))
    assert need <= 256 << 20
    assert grown <= need


@linux
@pytest.mark.slow
def test_eight_of_the_worst_photos_at_once_stay_within_the_budget(tmp_path: Path) -> None:
    names = [
        *("PNG, 56 megapixels", "PNG with alpha, 16 bits", "PNG, palette and transparency", "PNG, 16-bit grey"),
        *("WebP, lossless", "JPEG, progressive", "AVIF with alpha", "HEIC"),
    ]
    files = []
    for at, name in enumerate(names):
        files.append(tmp_path / str(at))
        files[-1].write_bytes(WORST[name]())
    grown, outcomes = decoded_in_a_process(files)
    assert outcomes == [[224, 224, 3]] * 8
    assert grown <= (256 << 20) + SLACK_BYTES
    grown, outcomes = decoded_in_a_process(files, megabytes=64)  # all of them need more
    assert outcomes == ["over_budget"] * 8
    assert grown <= SLACK_BYTES
