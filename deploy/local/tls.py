"""Makes a certificate for loopback. Kafka and Cassandra serve with its key, and clients trust it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from deploy.local.errors import ServicesError

_DAYS = 3650  # ten years, which is longer than a home is used


def make_certificate(java: Path, folder: Path, hosts: Iterable[str], password: str) -> Path:
    """Write keystore.p12 for the servers and ca.pem for clients if they are missing. Returns the path of ca.pem."""
    store, trusted = folder / "keystore.p12", folder / "ca.pem"
    if store.exists() and trusted.exists():
        return trusted
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    keytool = [str(java.with_name("keytool")), "-keystore", str(store), "-alias", "groknet"]
    keytool += ["-storetype", "PKCS12", "-storepass:env", "GROKNET_STORE_PASSWORD"]
    names = ",".join(["dns:localhost", *(f"ip:{host}" for host in hosts)])
    pair = [
        "-genkeypair",
        "-keyalg",
        "RSA",
        "-keysize",
        "2048",
        "-validity",
        str(_DAYS),
        "-dname",
        "CN=localhost",
    ]
    for arguments in ([*pair, "-ext", f"san={names}"], ["-exportcert", "-rfc", "-file", str(trusted)]):
        environment = {**os.environ, "GROKNET_STORE_PASSWORD": password}
        ended = subprocess.run([*keytool, *arguments], env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise ServicesError(f"no certificate could be made: {(ended.stdout + ended.stderr).strip()}")
    store.chmod(0o600)
    return trusted
