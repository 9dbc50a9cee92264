"""Decoding in processes: the same pixels, the same refusals; a photo that kills one harms no other."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.pixels import DecodeProcesses, SlotPhoto, decode_photo
from engines.pixels.multiprocess import _child as child_side
from schemas.errors import Invalid
from schemas.manifest import Preprocess

pytestmark = pytest.mark.slow

PREPROCESS = Preprocess(width=64, height=48)
POISON = b"kills its decoder"
# As `_START`, but a photo of POISON is a segmentation fault.
_MORTAL = f"""
import os, signal
from engines.pixels.multiprocess import decode_process
inner = decode_process.decode_photo
def decode_photo(data, *rest, **more):
    if data == {POISON!r}:
        os.kill(os.getpid(), signal.SIGSEGV)
    return inner(data, *rest, **more)
decode_process.decode_photo = decode_photo
"""


def photo(seed: int, kind: str = "JPEG") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def processes() -> Iterator[DecodeProcesses]:
    made = DecodeProcesses(2, PREPROCESS, thumbnail_side=32, slots=8)
    yield made
    made.close()


def outcomes(processes: DecodeProcesses, photos: list[bytes]) -> list[tuple[bytes, bytes] | Invalid]:
    """Pixels and thumbnail of each, copied and given back, as a tagger does."""
    found: list[tuple[bytes, bytes] | Invalid] = []
    for some in processes.decode(photos):
        for one in some:
            if isinstance(one, SlotPhoto):
                found.append((one.pixels.tobytes(), one.thumbnail))
                processes.give_back([one.slot])
            else:
                found.append(one)
    return found


def here(data: bytes) -> tuple[bytes, bytes]:
    decoded = decode_photo(data, PREPROCESS, 32)
    return decoded.pixels.tobytes(), decoded.thumbnail


def gone(pid: int) -> bool:
    """Ended; a zombie that nobody waits for has ended, too."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_the_same_pixels_and_thumbnails_bit_for_bit(processes: DecodeProcesses) -> None:
    photos = [photo(i, kind) for i in range(10) for kind in ("JPEG", "PNG", "WEBP")]
    assert outcomes(processes, photos) == [here(one) for one in photos]


def test_bad_photos_are_refused_alike_and_harm_no_other(processes: DecodeProcesses) -> None:
    whole = photo(1)
    photos = [whole, b"no photo", whole, whole[: len(whole) // 2], b"", whole]
    found = outcomes(processes, photos)
    assert [found[i] for i in (0, 2, 5)] == [here(whole)] * 3
    for i in (1, 3, 4):
        with pytest.raises(Invalid) as alone:
            decode_photo(photos[i], PREPROCESS)
        assert isinstance(found[i], Invalid)
        assert found[i].__reduce__() == alone.value.__reduce__()


def test_without_thumbnails() -> None:
    bare = DecodeProcesses(1, PREPROCESS, thumbnail_side=0, slots=1)
    assert outcomes(bare, [photo(1)]) == [(here(photo(1))[0], b"")]
    bare.close()


def test_many_threads_get_their_own_through_few_slots() -> None:
    few = DecodeProcesses(2, PREPROCESS, thumbnail_side=32, slots=3)
    found: dict[int, list[tuple[bytes, bytes] | Invalid]] = {}
    photos = {i: [photo(100 * i + k) for k in range(20)] for i in range(4)}
    threads = [threading.Thread(target=lambda i=i: found.update({i: outcomes(few, photos[i])})) for i in photos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: [here(one) for one in mine] for i, mine in photos.items()}
    few.close()


def test_what_is_not_given_back_is_waited_for() -> None:
    one = DecodeProcesses(1, PREPROCESS, thumbnail_side=32, slots=1)
    first = next(one.decode([photo(1)]))[0]
    assert isinstance(first, SlotPhoto)
    second: list[object] = []
    thread = threading.Thread(target=lambda: second.extend(outcomes(one, [photo(2)])))
    thread.start()
    time.sleep(0.1)
    assert (second, first.pixels.tobytes()) == ([], here(photo(1))[0])
    one.give_back([first.slot])
    thread.join()
    assert second == [here(photo(2))]
    one.close()


def test_a_killed_process_is_replaced_and_nothing_is_lost(processes: DecodeProcesses) -> None:
    assert outcomes(processes, [photo(1)]) == [here(photo(1))]
    (pid,) = processes.pids
    os.kill(pid, signal.SIGKILL)
    assert outcomes(processes, [photo(i) for i in range(12)]) == [here(photo(i)) for i in range(12)]
    assert pid not in processes.pids


def test_a_photo_that_kills_its_process_is_refused_and_those_beside_it_are_not(monkeypatch) -> None:
    monkeypatch.setattr(child_side, "_START", _MORTAL + child_side._START.replace("; ", "\n"))
    mortal = DecodeProcesses(1, PREPROCESS, thumbnail_side=32, slots=8)
    found = outcomes(mortal, [photo(1), POISON, photo(2)])
    assert [found[0], found[2]] == [here(photo(1)), here(photo(2))]
    assert isinstance(found[1], Invalid)
    assert (found[1].stage, found[1].error) == ("decode", "process_died")
    mortal.close()


def test_a_process_that_cannot_start_blames_no_photo(monkeypatch) -> None:
    monkeypatch.setattr(child_side, "_START", "raise SystemExit(7)")
    broken = DecodeProcesses(1, PREPROCESS, thumbnail_side=32, slots=8)
    with pytest.raises(RuntimeError, match=r"status \[7, 7, 7\]"):
        outcomes(broken, [photo(1)])
    broken.close()


def test_signals_of_the_group_are_left_to_the_parent(processes: DecodeProcesses) -> None:
    outcomes(processes, [photo(1)])
    (pid,) = processes.pids
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert outcomes(processes, [photo(2)]) == [here(photo(2))]
    assert processes.pids == [pid]
    assert os.getpgid(pid) != os.getpgid(0)


def test_closing_leaves_no_process() -> None:
    made = DecodeProcesses(1, PREPROCESS, thumbnail_side=32, slots=8)
    outcomes(made, [photo(1)])
    (pid,) = made.pids
    made.close()
    assert made.pids == []
    assert gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_processes_end_with_a_parent_that_is_killed_and_it_says_nothing() -> None:
    code = """
import sys
from engines.pixels import DecodeProcesses
from schemas.manifest import Preprocess
processes = DecodeProcesses(1, Preprocess(width=64, height=48), thumbnail_side=32, slots=8)
list(processes.decode([b"no photo"]))
print(*processes.pids, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, stderr=-1, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.kill()
    _, said = parent.communicate()
    deadline = time.monotonic() + 30
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert said == ""
