"""Names and certificates of photo hosts: rebinding, name servers that fail or hang, TLS."""

from __future__ import annotations

import socket
import threading

import pytest
from loopback import CERTIFICATE, Loopback, answer, serving
from photo_hosts import PHOTO, failure_of, intake_of, resolver

from schemas.errors import Invalid, Transient
from schemas.events import ImageRef
from workers.intake import Intake, IntakeSettings


def test_rebinding_is_pinned(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is asked for once a hop; the second answer, another machine, is never reached."""
    asked: list[str] = []
    names = {"photos.test": ["127.0.0.1"]}
    resolve = resolver(names, asked)

    def rebinding(host: str, port: int, *args: int, **kwargs: int) -> object:
        answers = resolve(host, port, *args, **kwargs)
        if host in names:
            names[host] = ["169.254.169.254"]
        return answers

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    intake = intake_of(server, allowed_private=(f"photos.test:{server.port}",))
    url = f"http://photos.test:{server.port}/ok"
    assert intake.fetch(ImageRef(image_id="a", url=url)) == PHOTO
    assert asked == ["photos.test"]
    assert f"Host: photos.test:{server.port}" in server.requests[0]
    assert failure_of(intake, url).error == "address_not_allowed"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answers",
    [["93.184.216.34", "10.0.0.1"], ["::1", "93.184.216.34"], ["::ffff:10.0.0.1"], ["fe80::1%lo"], []],
)
def test_one_private_answer_spoils_the_name(answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolver({"photos.example": answers}))
    error = failure_of(Intake(IntakeSettings()), "https://photos.example/p.jpg")
    assert error.error == "address_not_allowed"
    assert not any(address in error.message for address in answers)


def test_the_next_address_is_tried(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"photos.test": ["127.0.0.2", "127.0.0.1"]}  # the server listens on 127.0.0.1 alone
    monkeypatch.setattr(socket, "getaddrinfo", resolver(names))
    intake = intake_of(server, allowed_private=(f"photos.test:{server.port}",))
    assert intake.fetch(ImageRef(image_id="a", url=f"http://photos.test:{server.port}/ok")) == PHOTO


@pytest.mark.parametrize(
    ("errno", "kind", "code"),
    [
        (socket.EAI_NONAME, Invalid, "host_not_found"),
        (socket.EAI_AGAIN, Transient, "dns_failure"),
        (socket.EAI_FAIL, Transient, "dns_failure"),
    ],
)
def test_name_service_failures(errno: int, kind: type[Exception], code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(errno, "what the resolver says")

    monkeypatch.setattr(socket, "getaddrinfo", failing)
    error = failure_of(Intake(IntakeSettings(attempts=1)), "https://photos.example/p.jpg")
    assert (type(error), error.error) == (kind, code)


def test_a_stuck_resolver_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def stuck(*args: object, **kwargs: object) -> object:
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    intake = Intake(IntakeSettings(connect_timeout_s=0.2, attempts=1))
    try:
        error = failure_of(intake, "https://photos.example/p.jpg")
    finally:
        release.set()
        intake.close()
    assert (type(error), error.error) == (Transient, "timeout")


def test_a_site_whose_name_server_hangs_leaves_the_threads_to_other_sites(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of a stranger's own domain are without end. One name has one lookup, however many wait for it."""
    release, real, asked = threading.Event(), socket.getaddrinfo, []

    def stuck(host: str, *args: object, **kwargs: object) -> object:
        if not host.endswith("hostile.example"):
            return real(host, *args, **kwargs)  # type: ignore[arg-type]
        asked.append(host)
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    intake = intake_of(server, connect_timeout_s=0.05)
    try:
        for _ in range(2):
            errors = [failure_of(intake, f"https://n{n}.hostile.example/p.jpg").error for n in range(12)]
            assert errors == ["timeout"] * 8 + ["dns_failure"] * 4
        assert asked == [f"n{n}.hostile.example" for n in range(8)]
        assert intake.fetch(ImageRef(image_id="a", url=server.url("/ok"))) == PHOTO
    finally:
        release.set()
        intake.close()


def test_tls_verifies_the_name_and_not_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    names = {"photos.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
    monkeypatch.setattr(socket, "getaddrinfo", resolver(names, asked))
    with serving(tls=True) as server:
        server.scripts["/ok"] = answer(200, PHOTO)
        port = server.port
        private = tuple(f"{host}:{port}" for host in ("photos.test", "other.test", "127.0.0.1"))
        trusting = intake_of(server, allowed_private=private, ca_file=str(CERTIFICATE))
        ref = ImageRef(image_id="a", url=f"https://photos.test:{port}/ok")
        assert trusting.fetch(ref) == PHOTO
        assert asked == ["photos.test"]  # connecting asks no second time: the address is pinned
        for host in ("other.test", "127.0.0.1"):
            assert failure_of(trusting, f"https://{host}:{port}/ok").error == "certificate_refused"
        strict = failure_of(intake_of(server, allowed_private=private), f"https://photos.test:{port}/ok")
        assert (type(strict), strict.error) == (Invalid, "certificate_refused")


def test_tls_against_something_else(server: Loopback) -> None:
    """A plain server, and one that accepts and stays silent: both may be set right, so they are transient."""
    error = failure_of(intake_of(server), f"https://{server.address}/ok")
    assert isinstance(error, Transient)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        intake = intake_of(server, allowed_private=(f"127.0.0.1:{port}",), connect_timeout_s=0.5)
        error = failure_of(intake, f"https://127.0.0.1:{port}/ok")
    assert (type(error), error.error) == (Transient, "timeout")
