"""A broker that speaks TLS and asks for a password: let in with each mechanism, and told why when refused."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest

from deploy.local import Services
from schemas.errors import ConfigError, GroknetError, Transient
from tests.contract.backends import join, poll_until
from workers.streams import TopicSpec, build_stream

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
]


def url(secured: Services, **changed: str | None) -> str:
    status = secured.status()
    assert status is not None
    options = {
        "security": "SASL_SSL",
        "user": status.security.kafka_user,
        "password": status.security.kafka_password,
        "ca_file": status.security.ca_file,
        "session_s": "6",
        **changed,
    }
    return f"kafka://{secured.bootstrap}?{urlencode({k: v for k, v in options.items() if v is not None})}"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_with_the_password_records_pass(secured: Services, tmp_path: Path, mechanism: str) -> None:
    status = secured.status()
    assert status is not None
    (tmp_path / "password").write_text(f"{status.security.kafka_password}\n")
    stream = build_stream(
        url(secured, password=None, password_file=str(tmp_path / "password"), mechanism=mechanism), "test"
    )
    topic = f"topic-{mechanism}"
    admin, producer = stream.admin(), stream.producer()
    admin.ensure_topics([TopicSpec(topic, 2)])
    producer.send(topic, b"k", b"v").wait(30)
    member = join(stream, f"group-{mechanism}", [topic])
    poll_until([member], lambda: len(member.records) == 1, 60.0)
    member.consumer.commit({record.partition: record.next_offset for record in member.records})
    assert sum(admin.committed(f"group-{mechanism}", topic).values()) == 1
    member.consumer.close()
    producer.close()
    admin.close()


def refusal(url: str) -> GroknetError:
    with pytest.raises(GroknetError) as caught:
        build_stream(url, "test").admin()
    return caught.value


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_named_and_not_shown(secured: Services, mechanism: str) -> None:
    error = refusal(url(secured, password="hunter2", mechanism=mechanism))
    assert isinstance(error, ConfigError)
    assert "refuses user 'groknet'" in str(error)
    assert "password_file=" in str(error)
    assert "hunter2" not in str(error)


def test_what_does_not_fit_the_listener_is_named(secured: Services) -> None:
    from workers.streams.kafka._diagnosis import unreachable
    from workers.streams.kafka._settings import parse_kafka_url

    untrusted = unreachable(parse_kafka_url(url(secured, ca_file=None)), 10)
    assert isinstance(untrusted, ConfigError)
    assert "ca_file=" in str(untrusted)
    nameless = unreachable(parse_kafka_url(url(secured, security="SSL", user=None, password=None)), 10)
    assert isinstance(nameless, Transient)
    assert "security=SASL_SSL" in str(nameless)
    plain = refusal(f"kafka://{secured.bootstrap}")
    assert isinstance(plain, ConfigError)
    assert "speaks TLS" in str(plain)


def test_every_port_asks_for_a_password(secured: Services) -> None:
    """Brokers talk to each other on other ports; they are no way around the password."""
    status = secured.status()
    assert status is not None
    (broker,) = (server for server in status.servers if server.name.startswith("kafka"))
    internal = broker.ports["internal"]
    refused = refusal(f"kafka://{broker.host}:{internal}")
    assert isinstance(refused, ConfigError | Transient), refused
    wrong = refusal(f"kafka://groknet:hunter2@{broker.host}:{internal}?security=SASL_PLAINTEXT&mechanism=PLAIN")
    assert isinstance(wrong, ConfigError)
    assert "refuses user 'groknet'" in str(wrong)


def test_no_password_is_on_a_command_line(secured: Services) -> None:
    status = secured.status()
    assert status is not None
    secrets = [status.security.kafka_password, status.security.store_password]
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        assert not any(secret and secret in line for secret in secrets)
