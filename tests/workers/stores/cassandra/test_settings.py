"""The store URL: what it says, and one sentence for each way to write it wrongly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from workers.stores import build_store
from workers.stores.cassandra import parse_cassandra_url


def test_every_part_is_read() -> None:
    settings = parse_cassandra_url(
        "cassandra://wor%40ker:p%2Fw%3A@a:1,b,[::1]:3/shop_1?consistency=quorum&datacenter=dc1&in_flight=7&timeout_s=2.5"
        "&tls=true&tls_name=nodes.example&replicas=2"
    )
    assert settings.servers == (("a", 1), ("b", 9042), ("::1", 3))
    assert (settings.user, settings.secret()) == ("wor@ker", "p/w:")
    assert (settings.keyspace, settings.consistency, settings.datacenter) == ("shop_1", "quorum", "dc1")
    assert (settings.in_flight, settings.timeout_s, settings.replicas) == (7, 2.5, 2)
    assert (settings.tls, settings.tls_name) == (True, "nodes.example")


def test_defaults_are_those_of_a_cluster() -> None:
    settings = parse_cassandra_url("cassandra://a/shop")
    assert (settings.consistency, settings.in_flight, settings.timeout_s) == ("local_quorum", 128, 10.0)
    assert (settings.tls, settings.user, settings.replicas) == (False, "", None)


def test_a_password_is_never_printed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from-a-file\nsecond line\n")
    settings = parse_cassandra_url(f"cassandra://me@a/shop?password_file={file}")
    assert settings.secret() == "from-a-file"
    shown = [repr(parse_cassandra_url("cassandra://me:hush@a/shop")), str(settings)]
    assert not any("hush" in text or "me" in text for text in shown)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("cassandra://a", "keyspace"),
        ("cassandra://a/", "keyspace"),
        ("cassandra://a/Shop", "keyspace"),
        ("cassandra://a/shop;drop", "keyspace"),
        ("cassandra:///shop", "HOST:PORT"),
        ("cassandra://a:0/shop", "HOST:PORT"),
        ("cassandra://a:99999/shop", "HOST:PORT"),
        ("cassandra://a,,b/shop", "HOST:PORT"),
        ("cassandra://a/shop?consistency=one", "consistency"),
        ("cassandra://a/shop?consistncy=quorum", "consistncy"),
        ("cassandra://a/shop?in_flight=0", "in_flight"),
        ("cassandra://a/shop?timeout_s=soon", "timeout_s"),
        ("cassandra://a/shop?timeout_s=1&timeout_s=2", "timeout_s"),
        ("cassandra://a/shop?password=x", "password"),
        ("cassandra://me@a/shop", "password"),
        ("cassandra://:x@a/shop", "user"),
        ("cassandra://me:x@a/shop?password_file=/f", "password_file"),
        ("cassandra://a/shop?ca_file=/f", "tls=true"),
    ],
)
def test_what_is_wrong_is_named(url: str, word: str) -> None:
    with pytest.raises(ConfigError, match=r"^store\.url: ") as caught:
        build_store(url)
    assert word in str(caught.value)
    assert ":x@" not in str(caught.value)


@pytest.mark.parametrize("option", ["ca_file", "cert_file"])
def test_a_file_that_cannot_be_used_is_named(option: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=option):
        build_store(f"cassandra://127.0.0.1:1/shop?tls=true&{option}={tmp_path}/none.pem")
    with pytest.raises(ConfigError, match=r"none\.txt"):
        build_store(f"cassandra://me@127.0.0.1:1/shop?password_file={tmp_path}/none.txt")


def test_without_the_driver_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["cassandra"] = None
from schemas.errors import ConfigError
from workers.stores import build_store
try:
    build_store("cassandra://a/shop")
except ConfigError as error:
    print(error)
"""
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert "pip install 'groknet[cassandra]'" in done.stdout
