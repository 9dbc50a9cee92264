"""Types, JSON Schemas, examples and topics agree, and what is committed is what the types say."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

import schemas
from schemas import __main__ as command
from schemas.dead_letters import DeadLetter, parse_dead_letter
from schemas.documents import JSON_FOLDER, RELEASED_FOLDER, TOPICS_FILE, TYPES, TopicsFile, render, schema_file
from schemas.topics import TOPICS

EXAMPLES = sorted(path.name for path in JSON_FOLDER.glob("*.example.json"))
VALIDATOR = jsonschema.Draft202012Validator


def _load(name: str) -> Any:
    return msgspec.json.decode((JSON_FOLDER / name).read_bytes())


def _validator(name: str) -> jsonschema.Draft202012Validator:
    return VALIDATOR(_load(schema_file(name)))


def _read(name: str, payload: Any) -> msgspec.Struct:
    """As the Python types read it; a dead letter is headers."""
    if name == "dead_letter":
        return parse_dead_letter(tuple((key, value.encode()) for key, value in payload.items()))
    return msgspec.convert(payload, TYPES[name])


def test_committed_files_are_what_the_types_say() -> None:
    for name, content in render().items():
        assert (JSON_FOLDER / name).read_bytes() == content, f"{name} is stale; run python -m schemas"


def test_nothing_else_lies_there() -> None:
    known = {*render(), *EXAMPLES, RELEASED_FOLDER.name}
    assert {path.name for path in JSON_FOLDER.iterdir()} == known
    assert {path.name for path in RELEASED_FOLDER.iterdir()} == set(render())


@pytest.mark.parametrize("name", [*TYPES, "topics"])
def test_schemas_are_schemas(name: str) -> None:
    VALIDATOR.check_schema(_load(schema_file(name)))


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_an_example(name: str) -> None:
    assert any(example.partition(".")[0] == name for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_read_alike_by_the_types_and_by_the_schemas(example: str) -> None:
    name = example.partition(".")[0]
    payload = _load(example)
    _validator(name).validate(payload)
    value = _read(name, payload)
    if isinstance(value, DeadLetter):
        again = {key: text.decode() for key, text in value.headers()}
    else:
        again = msgspec.json.decode(msgspec.json.encode(value))
    _validator(name).validate(again)
    assert _read(name, again) == value
    assert set(payload) - set(again) <= {"schema_version"}  # left out on the wire while it is the default


def _spoiled() -> list[tuple[str, str, dict[str, Any]]]:
    """(schema, example, fields to overwrite): each breaks one rule that both sides must refuse."""
    photo = {"image_id": "a", "url": "https://photos.example/a.jpg"}
    long = base64.b64encode(bytes(700_003)).decode()
    event, hashes = "listing_event.created.example.json", "hash_message.example.json"
    stored = "stored_listing.complete.example.json"
    return [
        ("listing_event", event, {"listing_id": ""}),
        ("listing_event", event, {"listing_id": "white space"}),
        ("listing_event", event, {"listing_id": "x" * 129}),
        ("listing_event", event, {"event_id": ""}),
        ("listing_event", event, {"event_time": 0}),
        ("listing_event", event, {"event_time": "2026-01-01"}),
        ("listing_event", event, {"type": "sold"}),
        ("listing_event", event, {"images": [{**photo, "image_id": str(n)} for n in range(1001)]}),
        ("listing_event", event, {"seller_id": "a seller"}),
        ("listing_event", event, {"price": {"amount": "1,50", "currency": "EUR"}}),
        ("listing_event", event, {"price": {"amount": 1.5, "currency": "EUR"}}),
        ("listing_event", event, {"price": {"amount": "1.50", "currency": "eur"}}),
        ("listing_event", event, {"images": [{"image_id": "a"}]}),
        ("listing_event", event, {"images": [{**photo, "data": "AAAA"}]}),
        ("listing_event", event, {"images": [{**photo, "url": None}]}),
        ("listing_event", event, {"images": [{**photo, "url": "x" * 4097}]}),
        ("listing_event", event, {"images": [{"image_id": "a", "data": long}]}),
        ("listing_event", event, {"title": "x" * 1025}),
        ("listing_event", event, {"schema_version": 2}),
        ("hash_message", hashes, {"epoch": "3F9A0C51B7DE"}),
        ("hash_message", hashes, {"images": [{"image_id": "a", "hash": "0" * 63}]}),
        ("hash_message", hashes, {"images": [{"image_id": "a", "hash": "F" * 64}]}),
        ("stored_listing", stored, {"summary": {"status": "fine", "predictions": {}, "bad_images": []}}),
        ("stored_listing", stored, {"event": {"event_id": "a"}}),
        ("bundle_manifest", "bundle_manifest.example.json", {"surprise": 1}),
        ("bundle_manifest", "bundle_manifest.example.json", {"files": {"model.onnx": "abc"}}),
        ("bundle_manifest", "bundle_manifest.example.json", {"top_k": 0}),
        ("bundle_baseline", "bundle_baseline.example.json", {"surprise": 1}),
        ("bundle_baseline", "bundle_baseline.example.json", {"domains": {"(none)": 1.5}}),
        ("taxonomy", "taxonomy.example.json", {"heads": [{"id": "Not a stable id"}]}),
        ("dead_letter", "dead_letter.example.json", {"groknet.dlq.offset": "many"}),
    ]


@pytest.mark.parametrize(("name", "example", "fields"), _spoiled())
def test_both_sides_refuse_the_same(name: str, example: str, fields: dict[str, Any]) -> None:
    payload = {**_load(example), **fields}
    assert not _validator(name).is_valid(payload)
    with pytest.raises(msgspec.ValidationError):
        _read(name, payload)


@pytest.mark.parametrize("name", ["listing_event", "hash_message", "stored_listing"])
def test_unknown_fields_pass_on_the_wire(name: str) -> None:
    example = next(example for example in EXAMPLES if example.startswith(name))
    payload = {**_load(example), "field_of_tomorrow": [1]}
    _validator(name).validate(payload)
    assert _read(name, payload) == _read(name, _load(example))


EXPORTS = """
    BadImage BundleRefused ConfigError DeadLetter EpochMismatch GroknetError HashMessage Headers ImageHash ImageRef
    ImageRow Invalid InvalidEvent ListingEvent Manifest Prediction Price Reject RemovalMarker StoredListing Summary
    TOPICS Taxonomy Topic Transient cloud_event_headers decode_event decode_hashes decode_manifest encode_event
    encode_hashes encode_manifest hash_topic header load_taxonomy parse_dead_letter topics_for
"""


def test_topics_file_says_what_the_module_says() -> None:
    payload = _load(TOPICS_FILE)
    VALIDATOR(_load("topics.schema.json")).validate(payload)
    assert msgspec.convert(payload, TopicsFile).topics == TOPICS


def test_what_this_room_exports_is_pinned() -> None:
    assert sorted(schemas.__all__) == sorted(EXPORTS.split())
    assert all(hasattr(schemas, name) for name in schemas.__all__)


def test_the_command_checks_writes_and_releases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, released = tmp_path / "json", tmp_path / "json" / "v1"
    assert command.main(["--check"], folder, released) == 1
    assert "listing_event.schema.json: stale" in capsys.readouterr().err
    assert command.main(["--freeze"], folder, released) == 0
    assert command.main(["--check"], folder, released) == 0
    assert command.main([], folder, released) == 0
    assert "up to date" in capsys.readouterr().out
    (folder / "taxonomy.schema.json").write_text("{}")
    assert command.main(["--check"], folder, released) == 1
    assert command.main([], folder, released) == 0
    assert command.main(["--check"], folder, released) == 0


def test_the_command_refuses_a_break_and_does_not_release_it(tmp_path: Path) -> None:
    """As if a field and a schema had been released that the types no longer have."""
    folder, released = tmp_path / "json", tmp_path / "v1"
    shutil.copytree(JSON_FOLDER, folder)
    shutil.copytree(RELEASED_FOLDER, released)
    path = released / "hash_message.schema.json"
    schema = msgspec.json.decode(path.read_bytes())
    schema["$defs"]["HashMessage"]["properties"]["seller"] = {"type": "string"}
    path.write_bytes(msgspec.json.encode(schema))
    (released / "receipt.schema.json").write_text("{}")
    before = path.read_bytes()
    for arguments in (["--check"], [], ["--freeze"]):
        assert command.main(arguments, folder, released) == 1
    assert path.read_bytes() == before
    assert command.released_breaks(render(), released) == [
        "hash_message.schema.json $.seller: field removed",
        "receipt.schema.json: removed, though released",
    ]
