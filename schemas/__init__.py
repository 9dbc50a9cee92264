"""Everything that crosses a boundary, as types: events, hash messages, stored listings, dead letters, topics, the
bundle manifest, the taxonomy, and the errors that steer a worker.

Each has a JSON Schema and examples in `json/`; `python -m schemas` writes the schemas. Released schemas are in
`json/v1/`. Nothing here computes, uses a network, or knows a broker or a database, and nothing of ours is imported.
"""

from __future__ import annotations

from schemas.dead_letters import DeadLetter, parse_dead_letter
from schemas.envelope import Headers, cloud_event_headers, header
from schemas.errors import (
    BundleRefused,
    ConfigError,
    EpochMismatch,
    GroknetError,
    Invalid,
    InvalidEvent,
    Reject,
    Transient,
)
from schemas.events import ImageRef, ListingEvent, Price, decode_event, encode_event
from schemas.hashes import HashMessage, ImageHash, decode_hashes, encode_hashes
from schemas.manifest import Manifest, decode_manifest, encode_manifest
from schemas.predictions import BadImage, ImageRow, Prediction, RemovalMarker, StoredListing, Summary
from schemas.taxonomy import Taxonomy, load_taxonomy
from schemas.topics import TOPICS, Topic, hash_topic, topics_for

__all__ = [
    "TOPICS",
    "BadImage",
    "BundleRefused",
    "ConfigError",
    "DeadLetter",
    "EpochMismatch",
    "GroknetError",
    "HashMessage",
    "Headers",
    "ImageHash",
    "ImageRef",
    "ImageRow",
    "Invalid",
    "InvalidEvent",
    "ListingEvent",
    "Manifest",
    "Prediction",
    "Price",
    "Reject",
    "RemovalMarker",
    "StoredListing",
    "Summary",
    "Taxonomy",
    "Topic",
    "Transient",
    "cloud_event_headers",
    "decode_event",
    "decode_hashes",
    "decode_manifest",
    "encode_event",
    "encode_hashes",
    "encode_manifest",
    "hash_topic",
    "header",
    "load_taxonomy",
    "parse_dead_letter",
    "topics_for",
]
