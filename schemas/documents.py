"""The language-neutral side of this room: a JSON Schema of everything that crosses a boundary, made from the types.

`python -m schemas` writes `json/*.schema.json` and `json/topics.json`; nobody edits those by hand. Examples
(`json/<name>.<case>.example.json`) are written by hand, and `json/v1/` holds what has been released.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from schemas.baseline import Baseline
from schemas.dead_letters import PREFIX, DeadLetter
from schemas.detector_manifest import DETECTOR_FORMAT_VERSION, DetectorManifest
from schemas.events import MAX_INLINE_BYTES, SCHEMA_VERSION, ListingEvent
from schemas.hashes import HashMessage
from schemas.manifest import FORMAT_VERSION, Manifest
from schemas.occasions import Occasion
from schemas.predictions import StoredListing
from schemas.products import ProductMessage
from schemas.taxonomy import Taxonomy
from schemas.topics import TOPICS, Topic

Schema = dict[str, Any]

JSON_FOLDER = Path(__file__).with_name("json")
RELEASED_FOLDER = JSON_FOLDER / "v1"

TYPES: dict[str, type[msgspec.Struct]] = {
    "listing_event": ListingEvent,
    "hash_message": HashMessage,
    "stored_listing": StoredListing,
    "product_message": ProductMessage,
    "dead_letter": DeadLetter,
    "bundle_manifest": Manifest,
    "bundle_baseline": Baseline,
    "detector_manifest": DetectorManifest,
    "taxonomy": Taxonomy,
    "occasion": Occasion,
}
TOPICS_FILE = "topics.json"

_PRESENT = {"type": "string"}
# What a type checks in code beyond its fields, as far as JSON Schema can say it.
_RULES: dict[str, Schema] = {
    "ImageRef": {
        "oneOf": [
            {"required": ["url"], "properties": {"url": _PRESENT}},
            {"required": ["data"], "properties": {"data": _PRESENT}},
        ]
    },
    "ListingEvent": {
        "if": {"properties": {"type": {"const": "removed"}}},
        "else": {"required": ["images"], "properties": {"images": {"minItems": 0}}},
    },
}
_BASE64_CHARACTERS = (MAX_INLINE_BYTES + 2) // 3 * 4


class TopicsFile(msgspec.Struct, frozen=True, kw_only=True):
    """`topics.json`: every topic, for tools that do not speak Python."""

    topics: tuple[Topic, ...]


def schema_file(name: str) -> str:
    """File name of a schema."""
    return f"{name}.schema.json"


def schema_of(name: str) -> Schema:
    """The JSON Schema (draft 2020-12) of one entry of TYPES, or of `topics`."""
    schema = msgspec.json.schema(TopicsFile if name == "topics" else TYPES[name])
    definitions: dict[str, Schema] = schema["$defs"]
    for title, definition in definitions.items():
        if "description" in definition:
            definition["description"] = " ".join(definition["description"].split())
        definition.update(_RULES.get(title, {}))
    if name == "listing_event":
        definitions["ListingEvent"]["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    if name == "bundle_manifest":
        definitions["Manifest"]["properties"]["format_version"]["const"] = FORMAT_VERSION
    if name == "detector_manifest":
        definitions["DetectorManifest"]["properties"]["format_version"]["const"] = DETECTOR_FORMAT_VERSION
    if name == "occasion":
        definitions["Occasion"]["properties"]["listing_ids"]["uniqueItems"] = True
    if "ListingEvent" in definitions:
        definitions["ListingEvent"]["properties"]["images"]["default"] = []  # msgspec does not write it of a function
    if "ImageRef" in definitions:
        data: list[Schema] = definitions["ImageRef"]["properties"]["data"]["anyOf"]
        data[0]["maxLength"] = _BASE64_CHARACTERS
    if name == "dead_letter":
        schema = _header_schema(definitions["DeadLetter"])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:groknet:{name}:1"}
    return {**head, **schema}


def _header_schema(fields: Schema) -> Schema:
    """A dead letter is headers: every value is text, and every name carries the prefix."""
    whole = {"type": "string", "pattern": "^-?[0-9]+$"}
    properties: dict[str, Schema] = {}
    for name, field in fields["properties"].items():
        choices = field.get("anyOf", [field])
        values = [value for choice in choices for value in choice.get("enum", ())]
        text = {"type": "string", "enum": [v for v in values if v is not None]} if values else {"type": "string"}
        properties[PREFIX + name] = whole if any(c.get("type") == "integer" for c in choices) else text
    required = [PREFIX + name for name in fields["required"]]
    head = {"title": fields["title"], "description": fields["description"]}
    return {**head, "type": "object", "properties": properties, "required": required}


def render() -> dict[str, bytes]:
    """Every generated file by its name."""
    files = {schema_file(name): schema_of(name) for name in (*TYPES, "topics")}
    files[TOPICS_FILE] = msgspec.to_builtins(TopicsFile(topics=TOPICS))
    return {
        name: msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n" for name, content in files.items()
    }


def write(folder: Path = JSON_FOLDER) -> list[str]:
    """Write what has changed and return its names."""
    changed = stale(folder)
    files = render()
    folder.mkdir(parents=True, exist_ok=True)
    for name in changed:
        (folder / name).write_bytes(files[name])
    return changed


def stale(folder: Path = JSON_FOLDER) -> list[str]:
    """Names of generated files in `folder` that are missing or not what the types say."""
    return [
        name
        for name, content in render().items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != content
    ]
