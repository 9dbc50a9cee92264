"""The checks of `groknet doctor` for what is installed, followed by those for what runs. They change nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from groknet.diagnosis.check import Check
from groknet.diagnosis.detector_check import detector_check
from groknet.diagnosis.engine_check import engine_check
from groknet.diagnosis.platform_check import platform_check
from groknet.diagnosis.worker_checks import not_made, worker_checks
from groknet.home.config import Loaded, load_config
from groknet.home.hidden_heads import check_start
from groknet.home.paths import Home, loose_files
from schemas.errors import ConfigError, GroknetError

_MIN_PYTHON = (3, 11)
_LOW_DISK_BYTES = 1_000_000_000  # about 10,000 listings with photos inside their events
_REQUIREMENT = re.compile(r"""(?P<name>[A-Za-z0-9._-]+)[^;]*(?:;.*extra == ["'](?P<extra>[\w-]+)["'])?""")
_CONDITION = re.compile(r"""(sys_platform|platform_machine)\s*([=!]=)\s*["'](\w+)["']""")
_OPTIONAL = {
    "cpu": "to run workers on a CPU",
    "gpu": "to run workers on an NVIDIA GPU",
    "rtx": "to build TensorRT for RTX engines, here or for another machine",
    "openvino": "for engine.backend openvino, the fastest on a CPU",
    "torch": "for engine.backend torch, the fastest on an NVIDIA GPU",
    "train": "to train",
    "phone": "to export for phones; needs [train] too",
    "kafka": "to stream through Kafka",
    "cassandra": "to store in Cassandra",
    "services": "to start both on this machine",
    "heif": "to decode HEIC photos",
    "operations": "to build dashboards and alerts again",
    "tracing": "traces of listings by OpenTelemetry",
    "crawl": "for `groknet gallery fetch`, which obeys robots.txt",
    "bulk": "for `--engine ray`: bulk work on a Ray cluster",
    "clip": "for trunks of open_clip; needs [train] too",
}


def all_checks(home: Home, bundle: Path | None) -> Iterator[Check]:
    """Yield every check in order, as soon as it is done. Without a usable configuration the rest is left out."""
    yield _python()
    yield platform_check()
    yield from _packages()
    try:
        loaded = load_config(home, bundle=bundle)
    except GroknetError as error:
        yield Check(check="configuration", state="failed", detail=str(error), remedy="correct the named key")
        return
    source = home.config_file if home.config_file.exists() else "defaults (no groknet.toml) and environment"
    yield Check(check="configuration", state="ok", detail=str(source))
    yield _home(home)
    present = _in_force(loaded)
    yield _bundle(present)
    yield engine_check(present)
    yield detector_check(present)
    yield _jpegs(loaded)
    yield from worker_checks(loaded)


def _python() -> Check:
    detail = f"{platform.python_version()} at {sys.executable}, {os.cpu_count()} cores"
    if sys.version_info >= _MIN_PYTHON:
        return Check(check="python", state="ok", detail=detail)
    return Check(check="python", state="failed", detail=detail, remedy="install Python 3.11 or newer")


def _packages() -> Iterator[Check]:
    """Check the core and every extra: whether all packages are installed, and which are missing."""
    wanted: dict[str, list[str]] = {"": [], **{extra: [] for extra in _OPTIONAL}}
    elsewhere: dict[str, list[str]] = {}  # packages that are published only for other platforms
    for line in requires("groknet") or []:
        if match := _REQUIREMENT.match(line):
            group = wanted if _is_for_here(line) else elsewhere
            group.setdefault(match["extra"] or "", []).append(match["name"])
    for extra in ("", *_OPTIONAL):
        yield _extra(extra, wanted[extra], elsewhere.get(extra, []))


def _extra(extra: str, names: list[str], elsewhere: list[str]) -> Check:
    what = f"packages [{extra}]" if extra else "packages"
    remedy = f"pip install 'groknet[{extra}]'" if extra else "pip install groknet"
    there = {name: found for name in names if (found := _version(name))}
    missing = [name for name in names if name not in there]
    if elsewhere:
        detail = f"not published for {sys.platform} on {platform.machine()}: {', '.join(elsewhere)}"
        return Check(check=what, state="note", detail=detail)
    if not names:
        detail = "this installation is older than its sources and lacks this extra"
        return Check(check=what, state="note", detail=detail, remedy=remedy)
    if not missing:
        return Check(check=what, state="ok", detail=", ".join(f"{name} {found}" for name, found in there.items()))
    purpose = f" ({_OPTIONAL[extra]})" if extra else ""
    detail = f"missing: {', '.join(missing)}{purpose}"
    return Check(check=what, state="note" if extra else "failed", detail=detail, remedy=remedy)


def _is_for_here(requirement: str) -> bool:
    """Whether a requirement is for this platform. A requirement that names no platform is."""
    here = {"sys_platform": sys.platform, "platform_machine": platform.machine()}
    met = [(here[name] == value) == (how == "==") for name, how, value in _CONDITION.findall(requirement)]
    return not met or (any(met) if " or " in requirement else all(met))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _home(home: Home) -> Check:
    place = next(p for p in (home.root, *home.root.parents) if p.exists())
    if not os.access(place, os.W_OK):
        remedy = "name a folder that you can write to with --home"
        return Check(check="home", state="failed", detail=f"{place} cannot be written to", remedy=remedy)
    free = shutil.disk_usage(place).free
    detail = f"{home.root}, {free / 1e9:.1f} GB free"
    if free < _LOW_DISK_BYTES:
        remedy = "free some space: an event that cannot be written is refused"
        return Check(check="home", state="failed", detail=detail, remedy=remedy)
    if loose := loose_files(home):
        what = f"{detail}; others than its owner may read it" + (f", and {len(loose) - 1} files" if loose[1:] else "")
        remedy = f"chmod -R go= {home.root}"
        return Check(check="home", state="note", detail=what, remedy=remedy)
    return Check(check="home", state="ok", detail=detail if home.root.exists() else f"{detail}; not made yet")


def _in_force(loaded: Loaded) -> Loaded:
    """The configuration with the bundle of the epoch in force, which the workers run. If the store does not answer, it
    keeps the configured bundle."""
    from groknet.home.epochs import in_force
    from workers.stores import build_store

    url = loaded.config.store.url
    if not_made(url):
        return loaded
    try:
        with closing(build_store(url)) as store:
            return in_force(loaded, store)
    except GroknetError:
        return loaded  # the check of the store says why


def _bundle(loaded: Loaded) -> Check:
    """Check checksums and format as an engine does, then run the parity photos through the engine."""
    folder, what = Path(loaded.config.engine.bundle), "its files match"
    try:
        from engines.recognition import build_engine, load_bundle

        manifest = load_bundle(folder).manifest
        what = f"{manifest.name} {manifest.model_version}, epoch {manifest.epoch}, {len(manifest.heads)} heads"
        backend = "" if loaded.config.engine.backend == "auto" else loaded.config.engine.backend
        build_engine(folder, backend, loaded.config.engine.threads).close()
        check_start(loaded)
    except ModuleNotFoundError as error:
        detail = f"{what}; not run, since {error.name} is not installed"
        return Check(check="bundle", state="note", detail=detail, remedy="pip install 'groknet[cpu]'")
    except ConfigError as error:
        return Check(check="bundle", state="failed", detail=str(error), remedy="correct the named key")
    except GroknetError as error:
        remedy = "give another bundle with --bundle, or make it again with `groknet export`"
        return Check(check="bundle", state="failed", detail=str(error), remedy=remedy)
    return Check(check="bundle", state="ok", detail=f"{what}; checksums and the answers to the parity photos match")


def _jpegs(loaded: Loaded) -> Check:
    """Check whether the tagger's JPEG decoder can be opened here. Opening it decodes a known photo."""
    name = loaded.config.tagger.jpeg_decoder
    try:
        from engines.pixels import open_jpeg_decoder

        open_jpeg_decoder(name)
    except GroknetError as error:
        return Check(
            check="jpeg decoder", state="failed", detail=str(error), remedy="set tagger.jpeg_decoder to pillow"
        )
    return Check(check="jpeg decoder", state="ok", detail=name)
