"""`engine.backend = "auto"`: the fastest back end of this machine for a bundle, measured once and kept in HOME/engines.

The comparison runs in a process of its own, so that its memory goes with it. A worker that needs a choice while another
one measures waits for that one.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from engines.files import write_file
from engines.recognition import RecognitionEngine, build_engine
from engines.recognition.contest import Candidate, Entry, candidates, hold, winner
from engines.recognition.parts import usable_cores
from groknet.cli.exits import CommandError
from groknet.home.config import Loaded
from groknet.home.paths import Home
from groknet.home.running import Lock
from schemas.errors import ConfigError
from schemas.manifest import MANIFEST_FILE, load_manifest

AUTO = "auto"
FOLDER = "engines"
_PATIENCE_S = 900.0  # another worker that measures builds at most an INT8 engine and some GPU engines
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt_rtx", "torch")
_log = logging.getLogger(__name__)
Tell = Callable[[float, str], None]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What `auto` took for a bundle: back end, the folder of its bundle, and the reason, one line. `key` says for which
    bundle, machine and packages it holds."""

    key: str
    backend: str
    folder: str
    reason: str
    entries: list[Entry]


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the comparing process: its progress, and at the end the entries or why there are none."""

    share: float = 0.0
    what: str = ""
    entries: list[Entry] | None = None
    failed: str = ""


def open_engine(loaded: Loaded, folder: Path | None = None) -> RecognitionEngine:
    """Build the engine that the configuration names, for its bundle or for the one in `folder`.

    Raises what `build_engine` raises, and what `choose` raises.
    """
    section = loaded.config.engine
    bundle, backend = bundle_and_backend(loaded, folder)
    return build_engine(bundle, backend, section.threads, section.max_batch)


def bundle_and_backend(loaded: Loaded, folder: Path | None = None) -> tuple[Path, str]:
    """The folder and the back end of the engine that `open_engine` builds. Raises what `choose` raises."""
    section = loaded.config.engine
    bundle = folder or Path(section.bundle)
    if section.backend != AUTO:
        return bundle, section.backend
    choice = choose(loaded, bundle)
    _log.info("engine: %s", choice.reason)
    return Path(choice.folder), choice.backend


def choose(loaded: Loaded, bundle: Path, tell: Tell = lambda share, what: None) -> Choice:
    """Return the kept choice for a bundle; measure and keep one if there is none. Blocks, up to a minute or so.

    Args:
        loaded: the configuration and the home.
        bundle: the folder of the bundle.
        tell: called with the share that is done, 0..1, and what is done now.

    Raises:
        BundleRefused: there is no such bundle.
        ConfigError: no back end can run it here, or the comparison ended without an answer.
    """
    found = kept(loaded, bundle)
    if found is not None:
        return found
    try:
        lock = Lock(loaded.home, "engine-choice", _PATIENCE_S)
    except CommandError:
        text = f"another worker has compared back ends for {_PATIENCE_S / 60:g} minutes"
        raise ConfigError(f"engine.backend: {text}; name one instead of auto") from None
    try:
        found = kept(loaded, bundle)  # another worker may have measured meanwhile
        if found is None:
            found = _measured(loaded, bundle, tell)
            (loaded.home.root / FOLDER).mkdir(mode=0o700, exist_ok=True)
            write_file(_file(loaded.home, bundle), msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        return found
    finally:
        lock.release()


def kept(loaded: Loaded, bundle: Path) -> Choice | None:
    """Return the choice that an earlier comparison made, if bundle, machine and packages are still the same."""
    try:
        choice = msgspec.json.decode(_file(loaded.home, bundle).read_bytes(), type=Choice)
    except (OSError, msgspec.DecodeError):
        return None
    whole = (Path(choice.folder) / MANIFEST_FILE).is_file()
    return choice if whole and choice.key == _key(loaded, bundle) else None


def _measured(loaded: Loaded, bundle: Path, tell: Tell) -> Choice:
    section = loaded.config.engine
    made = loaded.home.root / FOLDER / f"{_digest(bundle)[:12]}-int8"
    shutil.rmtree(made, ignore_errors=True)  # made on another machine, of other photos or by another version
    photos = str(loaded.home.root / Path(section.calibration_photos).expanduser()) if section.calibration_photos else ""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_contest, args=(there, str(bundle), str(made), photos, section.threads))
    process.start()
    there.close()
    said = _Said(failed="its process ended early")
    try:
        while True:
            said = msgspec.json.decode(here.recv_bytes(), type=_Said)
            tell(said.share, said.what)
    except EOFError:
        process.join()
        here.close()
    if said.entries is None:
        why = said.failed or f"its process ended with {process.exitcode}"
        raise ConfigError(f"engine.backend: the comparison of back ends failed ({why}); name one")
    best, reason = winner(said.entries)
    if best.folder != str(made):
        shutil.rmtree(made, ignore_errors=True)
    key = _key(loaded, bundle)
    return Choice(key=key, backend=best.candidate.backend, folder=best.folder, reason=reason, entries=said.entries)


def _contest(there: Connection, bundle: str, made: str, photos: str, threads: int | None) -> None:
    """The process of a comparison: sends the progress, then the entries, or a text if it failed."""

    def int8(one: Candidate) -> Path:
        from engines.gpu.profiles import Profiles
        from engines.recognition.engine_folder import build_folder

        build_folder(
            Path(bundle),
            Path(made),
            backend=one.backend,
            precision=one.precision,
            profiles=Profiles.parse("1,8"),
            photos=Path(photos),
            target=None,
            progress=lambda share: None,
        )
        return Path(made)

    def tell(share: float, what: str) -> None:
        there.send_bytes(msgspec.json.encode(_Said(share=share, what=what)))

    try:
        entrants = candidates(load_manifest(Path(bundle)).precision, calibrated=bool(photos))
        entries = hold(Path(bundle), entrants, threads=threads, folder_of=int8, tell=tell)
        there.send_bytes(msgspec.json.encode(_Said(share=1.0, what="done", entries=entries)))
    except Exception as error:  # the worker tells it, because this process has no log
        there.send_bytes(msgspec.json.encode(_Said(failed=f"{type(error).__name__}: {error}")))


def _file(home: Home, bundle: Path) -> Path:
    return home.root / FOLDER / f"{_digest(bundle)[:12]}.json"


def _digest(bundle: Path) -> str:
    load_manifest(bundle)  # raises BundleRefused if there is none
    return hashlib.sha256((bundle / MANIFEST_FILE).read_bytes()).hexdigest()


def _key(loaded: Loaded, bundle: Path) -> str:
    section = loaded.config.engine
    parts = [_digest(bundle), _processor(), f"{usable_cores()} cores", f"{section.threads} threads"]
    parts += [f"{name} {_version(name)}" for name in _PACKAGES] + _gpus()
    return "; ".join([*parts, section.calibration_photos])


def _gpus(folder: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """What the driver says of each NVIDIA GPU; empty without one."""
    return [path.read_text("utf-8", "replace") for path in sorted(folder.glob("*/information"))]


def _processor() -> str:
    """The model of the processor, or its architecture where the system does not tell the model."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
