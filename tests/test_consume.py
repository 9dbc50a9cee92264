"""The two consumers of docs/how-to/read-hashes-and-predictions.md read what a tagger wrote to Kafka and Cassandra."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from deploy.local import Services
from schemas.topics import hash_topic
from tests.contract import cassandra_keyspace
from tests.workers.tagger.rig import Rig, event, jpeg, removal
from workers.stores import build_store
from workers.stores.cassandra import parse_cassandra_url
from workers.streams import build_stream

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to" / "read-hashes-and-predictions.md").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
]


def block(language: str) -> str:
    """The page's one example in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((ROOT / "schemas" / "json" / f"{schema}.schema.json").read_text()))


class Written:
    """Two listings and a removed one, written by a tagger with a tiny bundle."""

    def __init__(self, home: Path, services: Services) -> None:
        self.services = services
        self.store_url = cassandra_keyspace.fresh_url(services)
        cassandra_keyspace.make(self.store_url)
        self.rig = Rig(
            home,
            stream=build_stream(f"kafka://{services.bootstrap}?session_s=6", "consume"),
            store=build_store(self.store_url),
        )
        self.rig.process(event("one", [jpeg(1)]), event("two", [jpeg(2), jpeg(3)]), event("gone", [jpeg(4)]))
        self.rig.process(removal("gone", 2_000))

    def close(self) -> None:
        self.rig.close()
        cassandra_keyspace.drop(self.store_url)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Iterator[Written]:
    found = Written(tmp_path_factory.mktemp("consume"), services)
    yield found
    found.close()


@pytest.mark.skipif(shutil.which("kcat") is None, reason="not run: kcat is not installed (Debian: apt install kcat)")
def test_kcat_reads_the_hashes(written: Written) -> None:
    place = {"BROKERS": written.services.bootstrap, "TOPIC": hash_topic(written.rig.epoch)}
    said = subprocess.run(
        ["sh", "-ec", block("sh")], env=os.environ | place, capture_output=True, text=True, check=True
    )
    last = {message["key"]: message["payload"] for message in map(json.loads, said.stdout.splitlines())}
    last = {key: last[key] for key in ("one", "two", "gone")}  # of all that the topic holds of other tests
    assert last.pop("gone") is None
    schema, stored = validator("hash_message"), written.rig.store.get(["one", "two"])
    assert last.keys() == stored.keys()
    for listing_id, payload in last.items():
        schema.validate(json.loads(payload))
        found = {image["image_id"]: image["hash"] for image in json.loads(payload)["images"]}
        assert found == {row.image_id: row.hash for row in stored[listing_id].images}


def test_the_plain_driver_reads_the_predictions(written: Written, tmp_path: Path) -> None:
    script = tmp_path / "consume.py"
    script.write_text(block("python"))
    settings = parse_cassandra_url(written.store_url)
    host, port = settings.servers[0]
    command = [sys.executable, str(script), host, str(port), settings.keyspace, "one", "two", "gone", "never"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    documents = {one["listing_id"]: one for one in map(json.loads, said.stdout.splitlines())}
    for listing_id in ("gone", "never"):
        assert documents.pop(listing_id) == {"listing_id": listing_id, "gone": True}
    schema, stored = validator("stored_listing"), written.rig.store.get(["one", "two"])
    assert documents.keys() == stored.keys()
    for listing_id, document in documents.items():
        schema.validate(document)
        mine = stored[listing_id]
        assert [(i["image_id"], i["hash"]) for i in document["images"]] == [(r.image_id, r.hash) for r in mine.images]
        assert document["stored_at"] == mine.stored_at
