"""A stored listing: which of its fields decide that two runs of a model gave the same result."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from schemas.documents import JSON_FOLDER
from schemas.predictions import BadImage, StoredListing

STORED = msgspec.json.decode((JSON_FOLDER / "stored_listing.complete.example.json").read_bytes(), type=StoredListing)


def changed(**fields: object) -> StoredListing:
    return msgspec.structs.replace(STORED, **fields)


def by_hand(stored: StoredListing) -> str:
    """The run of a listing from its JSON, without the cached encodings of the type."""
    plain = json.loads(msgspec.json.encode(stored))
    rest = [
        plain["epoch"],
        plain["summary"]["status"],
        plain["summary"]["bad_images"],
        [
            [row["image_id"], row["hash"], *([] if row.get("applies") is None else [row["applies"]])]
            for row in plain["images"]
        ],
    ]
    parts = [rest, plain["summary"]["predictions"], *(row["predictions"] for row in plain["images"])]
    lines = [json.dumps(part, separators=(",", ":"), ensure_ascii=False).encode() for part in parts]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:16]


def test_a_run_is_the_hash_of_what_the_model_said() -> None:
    assert STORED.run == by_hand(STORED)


def test_when_it_was_written_is_no_part_of_the_run() -> None:
    assert changed(stored_at=STORED.stored_at + 1).run == STORED.run


@pytest.mark.parametrize("field", ["epoch", "status", "bad", "hash", "order", "photo", "pooled"])
def test_whatever_the_model_said_differently_is_another_run(field: str) -> None:
    first, *others = STORED.images
    summary = STORED.summary
    bad = [BadImage(image_id="z", stage="fetch", error="gone")]
    head, (best, *rest) = next(iter(first.predictions.items()))
    less = {**first.predictions, head: [msgspec.structs.replace(best, probability=best.probability / 2), *rest]}
    other = {
        "epoch": lambda: changed(epoch="f" * 12),
        "status": lambda: changed(summary=msgspec.structs.replace(summary, status="partial")),
        "bad": lambda: changed(summary=msgspec.structs.replace(summary, bad_images=bad)),
        "hash": lambda: changed(images=[msgspec.structs.replace(first, hash="0" * 64), *others]),
        "order": lambda: changed(images=[msgspec.structs.replace(first, image_id="another"), *others]),
        "photo": lambda: changed(images=[msgspec.structs.replace(first, predictions=less), *others]),
        "pooled": lambda: changed(summary=msgspec.structs.replace(summary, predictions=less)),
    }[field]()
    assert other.run != STORED.run
