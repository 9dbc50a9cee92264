"""What the URLs of Kafka and Cassandra have in common: read, or refused by the name of the setting."""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from workers.servers import read_options, read_password, read_servers, silenced, tls_context

KEY = "stream.url"


def servers(text: str) -> tuple[tuple[str, int], ...]:
    return read_servers(text, KEY, default_port=9092, shape="kafka://HOST:PORT")


def test_servers_are_hosts_and_ports() -> None:
    assert servers("a:1, b.example ,[::1]:65535") == (("a", 1), ("b.example", 9092), ("[::1]", 65535))


@pytest.mark.parametrize("text", ["", "a:0", "a:65536", "a,,b", "::1", "a b", "user@a", "a:1/x", "a:123456"])
def test_what_is_no_server_is_quoted_with_the_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"stream\.url: .* is not HOST:PORT; write kafka://HOST:PORT"):
        servers(text)


def test_options_are_given_once_and_are_options() -> None:
    assert read_options("a=1&b=", KEY, known="a, b", never={"host"}) == {"a": "1", "b": ""}
    for query in ("a=1&a=1", "host=x"):
        with pytest.raises(ConfigError, match="given twice or not an option; options: a, b"):
            read_options(query, KEY, known="a, b", never={"host"})


def test_a_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b" s3cret \r\nnote\n")
    assert read_password(str(file), KEY) == " s3cret "
    file.write_bytes(b"\xff")
    for path in (file, tmp_path / "none"):
        with pytest.raises(ConfigError, match=r"stream\.url: password_file .* cannot be read"):
            read_password(str(path), KEY)


def test_tls_checks_names_and_certificates_and_names_a_file_that_is_none(tmp_path: Path) -> None:
    context = tls_context(KEY, ca_file="", cert_file="", key_file="")
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"ca\.pem: .*are PEM files"):
        tls_context(KEY, ca_file=str(tmp_path / "ca.pem"), cert_file="", key_file="")


def test_a_client_is_silent_until_the_last_thread_has_connected() -> None:
    log = logging.getLogger("tests.client")
    log.setLevel(logging.WARNING)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with silenced("tests.client"):
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with silenced("tests.client"):
        thread.start()
        inside.wait(60)
    assert not log.isEnabledFor(logging.CRITICAL), "the other thread still connects"
    leave.set()
    thread.join()
    assert log.level == logging.WARNING
