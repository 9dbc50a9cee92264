"""Hostile URLs and hosts: each is refused, by the rule that is meant to refuse it, before anything is sent."""

from __future__ import annotations

import ipaddress
import socket

import msgspec
import pytest

from schemas.errors import Invalid
from schemas.events import ImageRef
from workers.intake import Intake, IntakeSettings
from workers.intake.addresses import is_public, may_connect

HOSTILE = [
    # addresses written in full
    ("https://127.0.0.1/p.jpg", "address_not_allowed"),
    ("https://127.1.2.3/p.jpg", "address_not_allowed"),
    ("https://0.0.0.0/p.jpg", "address_not_allowed"),
    ("https://10.0.0.1/p.jpg", "address_not_allowed"),
    ("https://172.16.9.9/p.jpg", "address_not_allowed"),
    ("https://192.168.1.1/p.jpg", "address_not_allowed"),
    ("https://100.64.0.1/p.jpg", "address_not_allowed"),
    ("https://169.254.169.254/latest/meta-data/", "address_not_allowed"),
    ("https://192.0.0.192/opc/v2/", "address_not_allowed"),
    ("https://198.18.0.1/p.jpg", "address_not_allowed"),
    ("https://224.0.0.1/p.jpg", "address_not_allowed"),
    ("https://255.255.255.255/p.jpg", "address_not_allowed"),
    ("https://[::1]/p.jpg", "address_not_allowed"),
    ("https://[::]/p.jpg", "address_not_allowed"),
    ("https://[::127.0.0.1]/p.jpg", "address_not_allowed"),
    ("https://[::ffff:127.0.0.1]/p.jpg", "address_not_allowed"),
    ("https://[::ffff:7f00:1]/p.jpg", "address_not_allowed"),
    ("https://[2002:7f00:1::]/p.jpg", "address_not_allowed"),
    ("https://[64:ff9b::a9fe:a9fe]/p.jpg", "address_not_allowed"),
    ("https://[fd00:ec2::254]/latest/", "address_not_allowed"),
    ("https://[fe80::1]/p.jpg", "address_not_allowed"),
    ("https://[fec0::1]/p.jpg", "address_not_allowed"),
    ("https://[ff02::1]/p.jpg", "address_not_allowed"),
    ("https://localhost/p.jpg", "address_not_allowed"),
    ("https://LOCALHOST./p.jpg", "address_not_allowed"),
    # addresses in disguise
    ("https://2130706433/p.jpg", "host_not_allowed"),
    ("https://0x7f000001/p.jpg", "host_not_allowed"),
    ("https://0177.0.0.1/p.jpg", "host_not_allowed"),
    ("https://0x7f.0.0.0x1/p.jpg", "host_not_allowed"),
    ("https://127.1/p.jpg", "host_not_allowed"),
    ("https://127.0.0.1.1/p.jpg", "host_not_allowed"),
    ("https://1.0x/p.jpg", "host_not_allowed"),
    ("https://[fe80::1%25eth0]/p.jpg", "host_not_allowed"),
    ("https://①②⑦.⓪.⓪.①/p.jpg", "host_not_allowed"),
    ("https://ⓛocalhost/p.jpg", "host_not_allowed"),
    ("https://bücher.example/p.jpg", "host_not_allowed"),
    ("https://127。0。0。1/p.jpg", "host_not_allowed"),
    ("https://%6c%6f%63alhost/p.jpg", "host_not_allowed"),
    ("https://photos_.example,evil/p.jpg", "host_not_allowed"),
    ("https:///p.jpg", "host_not_allowed"),
    ("https://./p.jpg", "host_not_allowed"),
    ("https://a..b/p.jpg", "host_not_allowed"),
    (f"https://{'a' * 64}.example/p.jpg", "host_not_allowed"),
    # what parsers disagree about
    ("https://photos.example\\@127.0.0.1/p.jpg", "bad_url"),
    ("https://photos.example /p.jpg", "bad_url"),
    ("https://photos.example/p.jpg\r\nHost: 127.0.0.1", "bad_url"),
    (" https://photos.example/p.jpg", "bad_url"),
    ("https://photos.example\t/p.jpg", "bad_url"),
    ("https://photos.example\x00.evil/p.jpg", "bad_url"),
    ("https://[::1/p.jpg", "bad_url"),
    ("https://photos.example:99999/p.jpg", "bad_url"),
    ("https://photos.example:port/p.jpg", "bad_url"),
    # credentials, ports, schemes
    ("https://user@photos.example/p.jpg", "credentials_in_url"),
    ("https://user:secret@photos.example/p.jpg", "credentials_in_url"),
    ("https://photos.example@127.0.0.1/p.jpg", "credentials_in_url"),
    ("https://photos.example#@127.0.0.1/p.jpg", "host_not_found"),
    ("https://photos.example:22/p.jpg", "port_not_allowed"),
    ("https://photos.example:80/p.jpg", "port_not_allowed"),
    ("https://photos.example:8443/p.jpg", "port_not_allowed"),
    ("https://photos.example:0/p.jpg", "port_not_allowed"),
    ("http://photos.example/p.jpg", "scheme_not_allowed"),
    ("ftp://photos.example/p.jpg", "scheme_not_allowed"),
    ("gopher://127.0.0.1:6379/_INFO", "scheme_not_allowed"),
    ("dict://127.0.0.1:11211/", "scheme_not_allowed"),
    ("jar:https://photos.example!/", "scheme_not_allowed"),
    ("data:image/png;base64,AAAA", "scheme_not_allowed"),
    ("javascript:alert(1)", "scheme_not_allowed"),
    ("//photos.example/p.jpg", "scheme_not_allowed"),
    ("photos/p.jpg", "scheme_not_allowed"),
    ("", "scheme_not_allowed"),
    ("file:///etc/passwd", "path_not_allowed"),
]

_getaddrinfo = socket.getaddrinfo


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names do not leave the machine: every name but localhost is unknown, numeric hosts resolve as they do."""

    def resolve(host: str, port: int, **kwargs: int) -> object:
        if host == "localhost" or host.replace(".", "").isdigit() or ":" in host:
            return _getaddrinfo(host, port, **kwargs)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize(("url", "code"), HOSTILE)
def test_hostile_url_is_refused(url: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        Intake(IntakeSettings()).fetch(ImageRef(image_id="a", url=url))
    assert (caught.value.stage, caught.value.error) == ("fetch", code)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("photos.example", "host_not_found"),  # listed, so it gets as far as the resolver
        ("PHOTOS.example.", "host_not_found"),
        ("cdn.shop.example", "host_not_found"),
        ("shop.example", "host_not_found"),
        ("evilshop.example", "host_not_allowed"),
        ("photos.example.evil.example", "host_not_allowed"),
        ("sub.photos.example", "host_not_allowed"),
    ],
)
def test_host_allow_list(host: str, code: str) -> None:
    settings = IntakeSettings(allowed_hosts=("photos.example", ".shop.example"))
    with pytest.raises(Invalid) as caught:
        Intake(settings).fetch(ImageRef(image_id="a", url=f"https://{host}/p.jpg"))
    assert caught.value.error == code


def test_http_is_allowed_for_listed_hosts_on_port_80_alone() -> None:
    settings = IntakeSettings(allow_http_hosts=("photos.example",))
    for url, code in [
        ("http://photos.example/p.jpg", "host_not_found"),
        ("http://photos.example:443/p.jpg", "port_not_allowed"),
        ("http://other.example/p.jpg", "scheme_not_allowed"),
    ]:
        with pytest.raises(Invalid) as caught:
            Intake(settings).fetch(ImageRef(image_id="a", url=url))
        assert caught.value.error == code


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public_addresses(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))
    assert may_connect(ipaddress.ip_address(text), private=False)


@pytest.mark.parametrize("text", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1"])
def test_even_a_named_host_never_leads_to_metadata_or_multicast(text: str) -> None:
    assert not may_connect(ipaddress.ip_address(text), private=True)


def test_a_named_host_may_be_private() -> None:
    for text in ("127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"):
        address = ipaddress.ip_address(text)
        assert may_connect(address, private=True)
        assert not may_connect(address, private=False)


@pytest.mark.parametrize(
    "fields",
    [
        {"allowed_private": ["127.0.0.1"]},
        {"allowed_private": ["127.0.0.1:70000"]},
        {"allowed_private": ["http://127.0.0.1:80"]},
        {"allowed_roots": ["photos"]},
        {"allowed_hosts": ["https://photos.example"]},
        {"allow_http_hosts": ["photos.example/x"]},
        {"max_bytes": 0},
        {"attempts": 0},
        {"read_timeout_s": 0},
        {"read_timeout": 1},
    ],
)
def test_settings_refuse_what_they_do_not_understand(fields: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(fields))):
        msgspec.convert(fields, IntakeSettings)
