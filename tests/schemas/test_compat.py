"""Nothing released is broken; and a break of each kind, planted on purpose, is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from schemas.__main__ import released_breaks
from schemas.compat import breaks, topic_breaks
from schemas.documents import RELEASED_FOLDER, TOPICS_FILE, render

Schema = dict[str, Any]
Change = Callable[[Schema], object]


def _released(name: str) -> Schema:
    return msgspec.json.decode((RELEASED_FOLDER / name).read_bytes())


def _event(schema: Schema) -> Schema:
    return schema["$defs"]["ListingEvent"]


def _image(schema: Schema) -> Schema:
    return schema["$defs"]["ImageRef"]


def test_the_types_of_today_break_nothing_that_was_released() -> None:
    assert released_breaks(render()) == []


def test_a_schema_does_not_break_itself() -> None:
    for path in RELEASED_FOLDER.glob("*.schema.json"):
        assert breaks(_released(path.name), _released(path.name)) == []


PLANTED: list[tuple[str, Change]] = [
    ("$.title: field removed", lambda s: _event(s)["properties"].pop("title")),
    ("$.images[].data: field removed", lambda s: _image(s)["properties"].pop("data")),
    ("$.state: field became required", lambda s: _event(s)["required"].append("state")),
    (
        "$.colour: new required field",
        lambda s: (_event(s)["properties"].update(colour={"type": "string"}), _event(s)["required"].append("colour")),
    ),
    ("$.event_id: field is no longer always there", lambda s: _event(s)["required"].remove("event_id")),
    (
        "$.title: type narrowed, null is no longer allowed",
        lambda s: _event(s)["properties"].update(title={"type": "string", "maxLength": 1024, "default": None}),
    ),
    (
        "$.event_time: type narrowed, integer is no longer allowed",
        lambda s: _event(s)["properties"].update(event_time={"type": "string"}),
    ),
    (
        "$.images: type narrowed, array is no longer allowed",
        lambda s: _event(s)["properties"]["images"].update(type="object"),
    ),
    ("$.type: enum narrowed, without removed", lambda s: _event(s)["properties"]["type"]["enum"].remove("removed")),
    (
        "$.state: enum narrowed, without anything else",
        lambda s: _event(s)["properties"]["state"].update(enum=["active", "sold"]),
    ),
    (
        "$.images: maxItems narrowed from 20 to 10",
        lambda s: _event(s)["properties"]["images"].update(maxItems=10),
    ),
    (
        "$.images: minItems narrowed from null to 1",
        lambda s: _event(s)["properties"]["images"].update(minItems=1),
    ),
    (
        "$.listing_id: maxLength narrowed from 128 to 64",
        lambda s: _event(s)["properties"]["listing_id"].update(maxLength=64),
    ),
    (
        "$.event_time: minimum narrowed from 1 to 1000",
        lambda s: _event(s)["properties"]["event_time"].update(minimum=1000),
    ),
    (
        "$.schema_version: maximum narrowed from null to 1",
        lambda s: _event(s)["properties"]["schema_version"].update(maximum=1),
    ),
    (
        "$.schema_version: minimum narrowed from null to 1",
        lambda s: _event(s)["properties"]["schema_version"].update(minimum=1),
    ),
    (
        "$.images[].url: maxLength narrowed from 4096 to 2048",
        lambda s: _image(s)["properties"]["url"]["anyOf"][0].update(maxLength=2048),
    ),
    (
        '$.listing_id: pattern changed from "^[A-Za-z0-9._:/-]+$" to "^[a-z]+$"',
        lambda s: _event(s)["properties"]["listing_id"].update(pattern="^[a-z]+$"),
    ),
    (
        '$.producer: pattern changed from null to "^[a-z]+$"',
        lambda s: _event(s)["properties"]["producer"].update(pattern="^[a-z]+$"),
    ),
    (
        '$.images[].data: contentEncoding changed from "base64" to "base16"',
        lambda s: _image(s)["properties"]["data"]["anyOf"][0].update(contentEncoding="base16"),
    ),
    (
        "$.schema_version: const changed from 1 to 2",
        lambda s: _event(s)["properties"]["schema_version"].update(const=2),
    ),
    (
        '$.state: default changed from "active"',
        lambda s: _event(s)["properties"]["state"].update(default="hidden"),
    ),
    ('$.state: default changed from "active"', lambda s: _event(s)["properties"]["state"].pop("default")),
    ("$: additionalProperties closed", lambda s: _event(s).update(additionalProperties=False)),
    (
        '$: additionalProperties narrowed to {"type":"string"}',
        lambda s: _event(s).update(additionalProperties={"type": "string"}),
    ),
    ("$.images[]: rule oneOf changed", lambda s: _image(s)["oneOf"].pop()),
    ("$: rule else changed", lambda s: _event(s).pop("else")),
]


@pytest.mark.parametrize(("found", "change"), PLANTED, ids=[found for found, _ in PLANTED])
def test_a_planted_break_is_found(found: str, change: Change) -> None:
    old = _released("listing_event.schema.json")
    new = copy.deepcopy(old)
    change(new)
    assert breaks(old, new) == [found]


def test_breaks_inside_maps_and_tuples_are_found() -> None:
    old = _released("bundle_manifest.schema.json")
    new = copy.deepcopy(old)
    new["$defs"]["Manifest"]["properties"]["files"]["additionalProperties"]["pattern"] = "^[0-9a-f]{40}$"
    new["$defs"]["Preprocess"]["properties"]["pad_colour"]["prefixItems"].append({"type": "integer"})
    new["$defs"]["Calibration"]["required"].remove("x")
    assert {text.partition(":")[0] for text in breaks(old, new)} == {
        "$.files[]",
        "$.preprocess.pad_colour",
        "$.heads[].calibration.x",
    }


def test_definitions_that_hold_themselves_are_compared_once() -> None:
    node = {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}
    old = {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "properties": {"next": node, "value": {"type": "integer", "maximum": 9}}}},
    }
    new = copy.deepcopy(old)
    assert breaks(old, new) == []
    new["$defs"]["Node"]["properties"]["value"]["maximum"] = 8
    assert breaks(old, new) == ["$.value: maximum narrowed from 9 to 8"]


ADDED: list[tuple[str, Change]] = [
    ("optional field", lambda s: _event(s)["properties"].update(colour={"type": "string", "default": ""})),
    ("longer text", lambda s: _event(s)["properties"]["listing_id"].update(maxLength=256)),
    ("no bound", lambda s: _event(s)["properties"]["images"].pop("maxItems")),
    ("no pattern", lambda s: _event(s)["properties"]["listing_id"].pop("pattern")),
    ("one more value", lambda s: _event(s)["properties"]["type"]["enum"].append("sold")),
    (
        "one more type",
        lambda s: _event(s)["properties"].update(
            producer={"anyOf": [{"type": "string"}, {"type": "null"}], "default": "unknown"}
        ),
    ),
    ("any number", lambda s: _event(s)["properties"]["event_time"].update(type="number")),
    ("other words", lambda s: _event(s).update(description="The same in other words.")),
]


@pytest.mark.parametrize("change", [change for _, change in ADDED], ids=[name for name, _ in ADDED])
def test_additions_and_wider_bounds_are_no_break(change: Change) -> None:
    old = _released("listing_event.schema.json")
    new = copy.deepcopy(old)
    change(new)
    assert new != old
    assert breaks(old, new) == []


def test_a_closed_object_that_opens_is_no_break() -> None:
    old = _released("taxonomy.schema.json")
    new = copy.deepcopy(old)
    new["$defs"]["Taxonomy"].pop("additionalProperties")
    assert breaks(old, new) == []
    assert breaks(new, old) == ["$: additionalProperties closed"]


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("key", "image_id", "key: listing_id became image_id"),
        ("value", "hash_message.schema.json", "value: listing_event.schema.json became hash_message.schema.json"),
        ("cleanup", "compact", "cleanup: delete became compact"),
        ("partitions", 16, "partitions: 8 became 16"),
        ("retention_ms", 1000, "retention_ms: 604800000 shortened to 1000"),
    ],
)
def test_a_planted_topic_break_is_found(field: str, value: object, found: str) -> None:
    old = _released(TOPICS_FILE)
    new = copy.deepcopy(old)
    new["topics"][0][field] = value
    assert topic_breaks(old, new) == [f"listings.uploaded.{found}"]


def test_topics_may_be_added_and_kept_longer_but_not_removed() -> None:
    old = _released(TOPICS_FILE)
    new = copy.deepcopy(old)
    new["topics"][0]["retention_ms"] = None
    new["topics"].append({**new["topics"][0], "name": "listings.more"})
    assert topic_breaks(old, new) == []
    assert topic_breaks(new, old) == [
        "listings.uploaded.retention_ms: None shortened to 604800000",
        "listings.more: topic removed",
    ]
