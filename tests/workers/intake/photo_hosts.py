"""Photo hosts on loopback, and an intake that may reach them."""

from __future__ import annotations

import socket

import pytest
from loopback import Loopback

from schemas.errors import Invalid, Transient
from schemas.events import ImageRef
from workers.intake import Intake, IntakeSettings

PHOTO = bytes(range(256)) * 40
PROMPT_S = 8.0  # far above the bounds under test, far below what the hostile answers would take


def intake_of(server: Loopback, **changes: object) -> Intake:
    """An intake with short limits that may reach the server."""
    fields: dict[str, object] = {
        "allowed_private": (server.address,),
        "max_bytes": 20_000,
        "connect_timeout_s": 2.0,
        "read_timeout_s": 1.0,
        "total_timeout_s": 2.0,
        "attempts": 1,
        "backoff_base_s": 0.01,
        **changes,
    }
    return Intake(IntakeSettings(**fields))  # type: ignore[arg-type]


def failure_of(intake: Intake, url: str) -> Invalid | Transient:
    """What a fetch fails with."""
    with pytest.raises((Invalid, Transient)) as caught:
        intake.fetch(ImageRef(image_id="a", url=url))
    assert isinstance(caught.value, (Invalid, Transient))
    assert caught.value.stage == "fetch"
    return caught.value


def resolver(names: dict[str, list[str]], asked: list[str] | None = None):
    """A name service with the given answers; numeric hosts stand for themselves."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: int, **kwargs: int) -> object:
        if host not in names:
            return real(host, port, *args, **kwargs)
        if asked is not None:
            asked.append(host)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in a], socket.SOCK_STREAM, 6, "", (a, port)) for a in names[host]]

    return resolve
