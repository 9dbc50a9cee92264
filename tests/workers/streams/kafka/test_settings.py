"""The URL of Kafka: every mistake is one sentence that names the option; passwords are never printed."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.errors import ConfigError, Transient
from workers.streams import build_stream

pytest.importorskip("kafka")
pytestmark = pytest.mark.filterwarnings(
    "ignore:(read|open)_text is deprecated:DeprecationWarning"
)  # kafka-python 3.0.12


def settings(url: str):
    from workers.streams.kafka._settings import parse_kafka_url

    return parse_kafka_url(url)


def test_every_option_is_read() -> None:
    found = settings(
        "kafka://a.example:1,b,[::1]:3/?security=SASL_SSL&mechanism=PLAIN&user=me&password=p%26w%3D+%2B&ca_file=/ca"
        "&cert_file=/cert&key_file=/key&session_s=6&max_poll_s=0.5&replicas=2"
    )
    assert found.servers == ("a.example:1", "b:9092", "[::1]:3")
    assert (found.security, found.mechanism, found.user, found.password) == ("SASL_SSL", "PLAIN", "me", "p&w= +")
    assert (found.ca_file, found.cert_file, found.key_file) == ("/ca", "/cert", "/key")
    assert (found.session_s, found.max_poll_s, found.replicas) == (6.0, 0.5, 2)


def test_user_and_password_stand_before_the_servers_as_in_cassandras_url() -> None:
    from workers.streams.kafka._settings import hide_password

    found = settings("kafka://m%40e:p%3Aw%40%2F@a:1,b:2?security=SASL_SSL")
    assert (found.user, found.password, found.servers) == ("m@e", "p:w@/", ("a:1", "b:2"))
    found = settings("kafka://me@a:1/?security=SASL_SSL&password_file=/secret")
    assert (found.user, found.password, found.password_file) == ("me", "", "/secret")
    assert hide_password("kafka://me:hunter2@a:1?password=hunter3&x=1") == "kafka://me:***@a:1?password=***&x=1"


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "HOST:PORT"),
        ("a:b", "'a:b' is not HOST:PORT"),
        ("a:0", "'a:0'"),
        ("a:70000", "'a:70000'"),
        ("a,,b", "'' is not HOST:PORT"),
        ("me:secret@a", "security=SASL_SSL"),
        ("me:secret@a?security=SASL_SSL&password=secret2", "password is given before @ and as an option"),
        ("me@a?security=SASL_SSL&user=you", "user is given before @"),
        ("me@a?security=SASL_SSL", "password="),
        ("a?colour=red", "colour"),
        ("a?session_s=soon", "session_s"),
        ("a?session_s=0", "session_s"),
        ("a?replicas=1&replicas=2", "replicas"),
        ("a?servers=b", "servers"),
        ("a?security=TLS", "security"),
        ("a?security=SASL_SSL", "needs user="),
        ("a?security=SASL_SSL&user=me", "password="),
        ("a?security=SASL_SSL&user=me&password=x&password_file=y", "one of"),
        ("a?user=me", "security=SASL_SSL"),
        ("a?ca_file=/ca", "security=SSL"),
    ],
)
def test_a_mistake_is_named(rest: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"stream\.url") as caught:
        build_stream(f"kafka://{rest}", "test")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_passwords_are_not_printed(tmp_path: Path) -> None:
    url = "kafka://a?security=SASL_SSL&user=me&password=hunter2"
    stream = build_stream(url, "test")
    assert "hunter2" not in repr(stream)
    assert stream.url == url.replace("hunter2", "***")
    assert "hunter2" not in repr(settings(url))
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    kept = settings(f"kafka://a?security=SASL_PLAINTEXT&user=me&password_file={file}")
    assert kept.client_options()["sasl_plain_password"] == "hunter2"


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for url in (
        f"kafka://a?security=SSL&ca_file={tmp_path}/ca.pem",
        f"kafka://a?security=SSL&ca_file={tmp_path}/absent.pem",
        f"kafka://a?security=SASL_PLAINTEXT&user=me&password_file={tmp_path}/absent",
    ):
        with pytest.raises(ConfigError, match=str(tmp_path)):
            settings(url).client_options()


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("workers.streams.kafka")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "kafka", None)
    with pytest.raises(ConfigError, match=r"groknet\[kafka\]"):
        build_stream("kafka://localhost:9092", "test")


@contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A port that takes connections; answers `answer` and hangs up, or is silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(answer or b"")

        thread = threading.Thread(target=serve)
        if answer is not None:
            thread.start()
        yield server.getsockname()[1]
        if answer is not None:
            thread.join()


def test_why_nobody_answers_is_told() -> None:
    from workers.streams.kafka._diagnosis import unreachable

    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    gone = unreachable(settings(f"kafka://127.0.0.1:{closed},no-such-host.invalid:1"), 10)
    assert isinstance(gone, Transient)
    assert f"127.0.0.1:{closed} cannot be connected to" in gone.message
    assert "no-such-host.invalid:1" in gone.message
    with listening(None) as port:
        paused = unreachable(settings(f"kafka://127.0.0.1:{port}?security=SSL"), 10)
        assert isinstance(paused, Transient)
        assert "silent" in paused.message
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        plain = unreachable(settings(f"kafka://127.0.0.1:{port}?security=SSL"), 10)
        assert isinstance(plain, ConfigError)
        assert "security=PLAINTEXT" in str(plain)
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        stranger = unreachable(settings(f"kafka://127.0.0.1:{port}"), 10)
        assert isinstance(stranger, Transient)
        assert "does not answer as Kafka" in stranger.message
