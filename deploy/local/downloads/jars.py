"""The servers' jars: pinned by checksum in `*.lock`, downloaded once for each user, verified at every start."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import ServicesError

Say = Callable[[str], None]
REPOSITORY_VARIABLE = "GROKNET_MAVEN_REPOSITORY"
"""This environment variable names another Maven repository (a URL), for machines that cannot reach the public one."""

_DOWNLOADS = 8  # for a hundred small files, most of the time is round trips
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of a lock file."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.artifact}-{self.version}{'-' if self.classifier else ''}{self.classifier}.jar"

    @property
    def path(self) -> str:
        """Its path in a Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.name}"


def jar_from_file(group: str, artifact: str, version: str, classifier: str, file: Path) -> Jar:
    """Return the lock entry of a downloaded file."""
    return Jar(group, artifact, version, classifier, _sha256(file), file.stat().st_size)


def write_lock(path: Path, coordinates: Iterable[str], jars: Sequence[Jar]) -> None:
    """Write a lock: comments, then `group:artifact:version[:classifier] size sha256` a line."""
    lines = [f"# {' '.join(coordinates)}; written by python -m deploy.local.downloads.relock"]
    for jar in jars:
        parts = [jar.group, jar.artifact, jar.version, jar.classifier]
        lines.append(f"{':'.join(filter(None, parts))} {jar.size} {jar.sha256}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_lock(path: Path) -> tuple[Jar, ...]:
    """Return the jars of a lock, in the order of the class path."""
    jars = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            coordinate, size, sha256 = line.split()
            group, artifact, version, *classifier = coordinate.split(":")
            jars.append(Jar(group, artifact, version, "".join(classifier), sha256, int(size)))
    return tuple(jars)


def default_cache() -> Path:
    """Return $XDG_CACHE_HOME/groknet, or ~/.cache/groknet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groknet"


def class_path(server: str, cache: Path, say: Say) -> str:
    """Return the class path of `kafka` or `cassandra`, after verifying every jar of its lock.

    Jars that are missing or damaged are downloaded into a folder that all homes of a user share.

    Raises:
        ServicesError: a download fails, or a file does not match the lock.
    """
    jars = read_lock(Path(__file__).with_name(f"{server}.lock"))
    folder = cache / "jars"
    with _locked(folder):
        missing = [jar for jar in jars if not _is_good(folder / jar.path, jar)]
        if missing:
            megabytes = sum(jar.size for jar in missing) / 1e6
            say(f"downloading {server}: {len(missing)} jars, {megabytes:.0f} MB, to {folder}")
            _download(missing, folder)
    return os.pathsep.join(str(folder / jar.path) for jar in jars)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise ServicesError(f"--cache {folder}: {error.strerror}; name a folder that you can write to") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two homes that start at the same time download only once
        yield


def _download(jars: Sequence[Jar], folder: Path) -> None:
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as staging,
        ThreadPoolExecutor(_DOWNLOADS) as pool,
    ):
        for jar, file in zip(jars, pool.map(lambda jar: fetch(jar, Path(staging)), jars), strict=True):
            target = folder / jar.path
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


def fetch(jar: Jar, staging: Path) -> Path:
    """Download one jar into a folder of its own, so that a broken download leaves nothing for the next try."""
    try:
        from jgo.maven import MavenContext
    except ModuleNotFoundError:
        raise ServicesError("the package jgo is not installed; pip install 'groknet[services]'") from None
    mirror = os.environ.get(REPOSITORY_VARIABLE)
    for left in reversed(range(_TRIES)):
        own = Path(tempfile.mkdtemp(dir=staging))
        context = MavenContext(
            repo_cache=own,
            remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
            timeout=60,
        )
        component = context.project(jar.group, jar.artifact).at_version(jar.version)
        try:
            file = component.artifact(jar.classifier).resolve()
        except Exception as error:  # errors of requests, urllib3 and jgo: each means that the download failed
            reason = f"cannot be downloaded ({type(error).__name__})"
        else:
            if _is_good(file, jar):
                return file
            reason = "is not the file that the lock pins"
        shutil.rmtree(own, ignore_errors=True)
        if not left:
            raise ServicesError(f"{jar.name} {reason}; check the network, or set {REPOSITORY_VARIABLE}")
    raise AssertionError("unreachable")


def _is_good(file: Path, jar: Jar) -> bool:
    return file.is_file() and file.stat().st_size == jar.size and _sha256(file) == jar.sha256


def _sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
