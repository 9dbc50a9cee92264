"""`groknet dlq` shows what a stranger wrote in a dead letter without letting it steer the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import msgspec
import pytest

from groknet.cli.exits import Exit
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.run.open_back_ends import open_stream
from schemas.dead_letters import DeadLetter
from schemas.events import SURPLUS, ImageRef, ListingEvent, encode_event
from schemas.topics import DEAD_LETTERS
from tests.groknet.conftest import Call, sent_to
from tests.hostile.doors import terminal

STEERING = "a\x1b]0;owned\x07\x9b2J\u202egpj.exe\u2066b\rc\x00\x7f\u2028d\x85[red]e[/red]"
LETTER = msgspec.structs.replace(terminal.LETTER, message=STEERING, model_version=STEERING)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two dead letters: one with readable headers, one with nonsense; key and value are hostile in both."""
    made = Home(tmp_path / "home").make()
    with open_stream(load_config(made), "test") as stream:
        producer = stream.producer()
        raw = STEERING.encode()
        for headers in (LETTER.headers(), (("x\x1b[2J", b"\x9b\xff" + raw),)):
            producer.send(DEAD_LETTERS, raw, raw, headers)
        producer.flush(30)
        producer.close()
    return made.root


def steers(text: str) -> list[str]:
    """The characters of an output that are no text, line ends excepted."""
    kinds = ("Cc", "Cf", "Zl", "Zp", "Cs")
    return [repr(c) for c in text if c != "\n" and unicodedata.category(c) in kinds]


def ids(home: Path, groknet: Call) -> list[str]:
    """The ids of the two letters, in the order in which they were sent."""
    return sorted(json.loads(line)["id"] for line in groknet("dlq", "list", "--json", "--home", home).out.splitlines())


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("list", "--json"),
        ("show", "first"),
        ("show", "second"),
        ("show", "first", "--json"),
        ("show", "second", "--json"),
        ("show", STEERING),
        ("replay", "--policy", "drop", "--dry-run"),
        ("replay", "--policy", "drop", "--dry-run", "--json"),
    ],
)
def test_every_output_has_its_control_characters_escaped(home: Path, groknet: Call, command: tuple[str, ...]) -> None:
    first, second = ids(home, groknet)
    answer = groknet("dlq", *({"first": first, "second": second}.get(word, word) for word in command), "--home", home)
    assert answer.out + answer.err
    assert steers(answer.out + answer.err) == []
    if command[0] == "show" and STEERING not in command:
        assert "gpj.exe" in answer.out  # it is shown
        assert "[red]e[/red]" in answer.out  # and not taken for markup


def test_a_letter_about_too_many_photos_is_not_repeated(tmp_path: Path, groknet: Call) -> None:
    """Its event would write it again at each replay. The event's other letter still sends the event, once."""
    home = Home(tmp_path / "home").make()
    images = [ImageRef(image_id=str(n), data=b"x") for n in range(22)]
    event = ListingEvent(
        event_id="e", listing_id="many", event_time=1_760_000_000_000_000, type="created", images=images
    )
    value = encode_event(event)

    def uploaded() -> list[bytes | None]:
        return [record.value for record in sent_to(home.root)]

    def write(*letters: DeadLetter) -> None:
        with open_stream(load_config(home), "test") as stream:
            producer = stream.producer()
            for letter in letters:
                producer.send(DEAD_LETTERS, b"many", value, letter.headers())
            producer.flush(30)
            producer.close()

    surplus = msgspec.structs.replace(LETTER, error=SURPLUS, message="2 photos are left out", model_version="m")
    write(surplus)
    for _ in range(2):
        replayed = groknet("dlq", "replay", "--json", "--home", home.root)
        assert uploaded() == []
    assert replayed.code == Exit.OK
    write(surplus, msgspec.structs.replace(surplus, error="truncated"))
    actions = [line["action"] for line in groknet("dlq", "replay", "--json", "--home", home.root).lines]
    assert actions == ["left out", "sent"]
    assert uploaded() == [value]


def test_json_keeps_the_value(home: Path, groknet: Call) -> None:
    found = json.loads(groknet("dlq", "show", ids(home, groknet)[0], "--json", "--home", home).out)
    assert found["value"] == STEERING


def test_the_command_in_a_process_of_its_own_writes_no_control_character(home: Path) -> None:
    words = [sys.executable, "-m", "groknet", "dlq", "list", "--home", str(home)]
    done = subprocess.run(words, capture_output=True, check=True, timeout=120)
    assert steers((done.stdout + done.stderr).decode()) == []
    assert done.stdout.count(b"\n") == 3  # a heading, and one line for each letter
