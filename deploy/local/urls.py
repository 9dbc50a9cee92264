"""The addresses of a home's servers as GrokNet takes them, `stream.url` and `store.url`, with passwords in files."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlencode

from deploy.local.settings import ServicesState

KEYSPACE = "groknet"


def urls(state: ServicesState) -> dict[str, str]:
    """The URLs of `stream` and `store`, as far as the home has such servers.

    No password is part of a URL. It is written to a file under HOME/services, which only the owner may read.
    """
    security, found = state.security, {}
    if state.bootstrap:
        options: dict[str, str] = {}
        if security.kafka_protocol != "PLAINTEXT":
            options["security"] = security.kafka_protocol
        options |= _password(state, "kafka", security.kafka_password)
        if security.kafka_tls and security.ca_file:
            options["ca_file"] = security.ca_file
        found["stream"] = _url("kafka", security.kafka_user, ",".join(state.bootstrap), options)
    if state.contact_points:
        places = ",".join(f"{host}:{state.cassandra_port}" for host in state.contact_points)
        options = _password(state, "cassandra", security.cassandra_password)
        if security.cassandra_tls and security.ca_file:
            options |= {"tls": "true", "ca_file": security.ca_file}
        found["store"] = _url("cassandra", security.cassandra_user, f"{places}/{KEYSPACE}", options)
    return found


def _url(scheme: str, user: str | None, place: str, options: dict[str, str]) -> str:
    who = f"{quote(user, safe='')}@" if user else ""
    query = f"?{urlencode(options, safe='/')}" if options else ""
    return f"{scheme}://{who}{place}{query}"


def _password(state: ServicesState, name: str, password: str | None) -> dict[str, str]:
    """The option that names the file of a password, after writing the file."""
    if not password:
        return {}
    file = Path(state.home) / "services" / f"{name}.password"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(password + "\n", encoding="utf-8")
    part.replace(file)
    return {"password_file": str(file)}
