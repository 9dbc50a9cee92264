"""The configuration: one TOML file in HOME, overridden by environment variables. Each key has a type. Unknown keys are
errors.

The environment variable `GROKNET__TAGGER__BATCH_SIZE` overrides the key `[tagger] batch_size` of `HOME/groknet.toml`.
Write lists and tables in the environment as JSON. `stream.url` and `store.url` choose Kafka and Cassandra.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engines.detection import DetectorBackend
from groknet.home.detecting import bundle_with_detector
from groknet.home.paths import Home
from schemas.boxes import MOST_BOXES, PADDING, THRESHOLD
from schemas.errors import ConfigError
from schemas.units import Share
from workers.backfill.settings import BackfillSettings
from workers.indexer.settings import IndexerSettings
from workers.intake import IntakeSettings
from workers.products.settings import ProductsSettings
from workers.search.settings import SearchSettings
from workers.tagger import TaggerSettings
from workers.tracing import TracingSettings

ENV_PREFIX = "GROKNET__"
_RENAMED = (("tagger", "keep_margins", "keep_embedding"),)  # section, old name, new name


class StreamSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stream of events."""

    url: str = ""
    """If it is empty, the stream is the embedded log in HOME."""
    keep_dead_letters_days: Annotated[int, Meta(ge=1, le=30)] = 30
    """How many days dead letters are kept. At most 30, because the store keeps the moved photos of large events for 31.
    After a change run `groknet topics apply`."""
    keep_retries_days: Annotated[int, Meta(ge=1, le=30)] = 7
    """How many days an event stays in a retry topic. A tagger that is down for longer loses its retries. After a change
    run `groknet topics apply`."""


class StoreSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The store of predictions."""

    url: str = ""
    """If it is empty, the store is the embedded one in HOME."""
    keep_inline_photos_days: Annotated[int, Meta(ge=1, le=7300)] | None = None
    """How many days the store keeps the inline photos of an event, with their metadata. Without it, as long as the
    listing. Afterwards the listing stays as it is, but a back-fill cannot compute it again. It applies to events that
    are stored from then on."""

    @property
    def keep_inline_photos_s(self) -> float | None:
        """The same in seconds."""
        return None if self.keep_inline_photos_days is None else self.keep_inline_photos_days * 86_400.0


class TargetsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where `groknet run all` serves the list of its workers for Prometheus, and its own metrics."""

    host: str = "127.0.0.1"
    """The address to listen on. Loopback by default: change it if Prometheus runs on another machine."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 9570
    """0 takes any free port. If you set none and 9570 is taken, any free port is used; a line on stderr names it."""


class LogSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What workers write to stderr."""

    format: Literal["console", "json"] = "console"
    """`console`: lines to read. `json`: one object a line with the fields `time`, `level`, `logger`, `message`, and
    `listing` or `batch` where a line is about one."""


class EngineSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The recognition engine."""

    bundle: str = ""
    """A folder, relative to HOME. If it is empty, it is the packaged demo bundle."""
    backend: str = ""
    """`onnxruntime`, `openvino`, `torch`, `tensorrt` or `tensorrt_rtx`. If it is empty, it is the one that `bundle` was
    built for by `groknet engine build`, and `onnxruntime` for an exported bundle. `auto` takes the fastest that is
    installed and passes the parity gate here; it measures once for a bundle and machine."""
    calibration_photos: str = ""
    """A folder of about 64 photos like those to come, relative to HOME. `auto` calibrates INT8 on them; without them it
    leaves INT8 out."""
    threads: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """The threads of one engine, by default one for each core."""
    max_batch: Annotated[int, Meta(ge=1, le=4096)] = 32
    """The most photos in one call. If that is above the largest profile of a TensorRT engine, a call is split into
    parts, whose copies and computations overlap."""


class DetectSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the product is in a photo, before it is described. `mode`, `bundle`, `padding`, `threshold` and
    `most_boxes` are on the path from photo to hash: a change of one of them makes another epoch. See
    docs/how-to/detect.md."""

    mode: Literal["off", "subject", "all"] = "off"
    """`subject`: the most confident box is described, or the whole photo where none is found. `all`: every box has its
    own predictions, its hash and its entry in the index. `off`: whole photos."""
    bundle: str = ""
    """The folder of a detector's bundle, relative to HOME. With `mode = "off"`, searches may still ask for it
    (`detect=subject`)."""
    padding: Annotated[float, Meta(ge=0, le=1)] = PADDING
    """How much wider a box is made on each side, as a share of the box. Products at the very edge of a crop are
    recognised less well."""
    threshold: Share = THRESHOLD
    """The least confidence of a box, 0 to 1. Below it, a photo counts as one without a box."""
    most_boxes: Annotated[int, Meta(ge=1, le=MOST_BOXES)] = 16
    """The most boxes of one photo with `all`. Each costs the engine as much as a photo. `subject` takes one."""
    backend: DetectorBackend = "onnxruntime"
    """What runs the detector: `onnxruntime` or `openvino`; `tensorrt` and `tensorrt_rtx` have not run on a GPU. It does
    not change the epoch."""
    batch: Annotated[int, Meta(ge=1, le=256)] = 8
    """The most photos that the detector gets in one call."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. The keys of a section are documented at its settings."""

    stream: StreamSection = StreamSection()
    store: StoreSection = StoreSection()
    engine: EngineSection = EngineSection()
    detect: DetectSection = DetectSection()
    intake: IntakeSettings = IntakeSettings()
    tagger: TaggerSettings = TaggerSettings()
    indexer: IndexerSettings = IndexerSettings()
    search: SearchSettings = SearchSettings()
    products: ProductsSettings = ProductsSettings()
    backfill: BackfillSettings = BackfillSettings()
    targets: TargetsSection = TargetsSection()
    log: LogSection = LogSection()
    tracing: TracingSettings = TracingSettings()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and the origin of its values: `origin["tagger.batch_size"]` is `file` or `environment`."""

    config: Config
    home: Home
    origin: Mapping[str, str] = field(default_factory=dict)
    configured: str = ""
    """The bundle of the command line or the configuration. After `with_bundle`, `engine.bundle` is another one."""
    follows: bool = True
    """Whether workers run the epoch that is in force in the store. False if the command line names a bundle."""

    def configured_port(self, section: str) -> int | None:
        """The port that the file or the environment sets for a section. None if it is the default."""
        port: int = getattr(self.config, section).port
        return port if f"{section}.port" in self.origin else None

    def with_bundle(self, folder: Path) -> Loaded:
        """The same configuration with another bundle to run. `groknet.home.epochs.in_force` finds that bundle."""
        engine = msgspec.structs.replace(self.config.engine, bundle=str(folder))
        return replace(self, config=msgspec.structs.replace(self.config, engine=engine))


def load_config(home: Home, environ: Mapping[str, str] = os.environ, *, bundle: Path | None = None) -> Loaded:
    """Read the configuration of `home`, apply the environment variables, check it, and fill in what depends on HOME.
    `bundle` is the option `--bundle` of the command line. It is taken as it is, whatever `[detect]` says.

    Raises:
        ConfigError: the file cannot be read, a key is unknown (the message names the nearest known one), a value has
            the wrong type or is out of bounds, or a setting is there under its old and its new name.
        BundleRefused: `detect.mode` is on, and a bundle is missing or damaged.
    """
    from_file = _read_file(home.config_file)
    from_env = _read_environment(environ)
    _check_keys(from_file, str(home.config_file))
    _check_keys(from_env, "environment")
    _convert(from_file, strict=True, where=str(home.config_file))
    both = _overlay(from_file, from_env)
    _check_renamed(both, "environment over " + home.config_file.name if from_env else str(home.config_file))
    config = _convert(both, strict=False, where="environment over " + home.config_file.name)
    origin = dict.fromkeys(_leaves(from_file), "file") | dict.fromkeys(_leaves(from_env), "environment")
    config = _complete(config, home, bundle)
    return Loaded(config, home, origin, config.engine.bundle, bundle is None)


def demo_bundle() -> Path:
    """The folder of the demo bundle, which comes with the package."""
    spec = find_spec("training")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0] if folders else "training") / "bundles" / "demo"


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX):
            continue
        *sections, key = name.removeprefix(ENV_PREFIX).lower().split("__")
        table = found
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{name}: {section} already has a value; give the section or its keys, not both")
        table[key] = _from_text(name, text)
    return found


def _from_text(name: str, text: str) -> Any:
    if not text.startswith(("[", "{")):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{name}: starts like JSON and is not: {error}; correct the JSON") from None


def _check_keys(table: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for an unknown section or key, and name what was probably meant."""
    sections = {f.name: f.type for f in msgspec.structs.fields(Config)}
    for section, values in table.items():
        if section not in sections:
            raise ConfigError(f"{where}: unknown section [{section}]{_meant(section, sections)}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"{where}: {section} is a section; give its keys under [{section}]")
        known = {f.name: f for f in msgspec.structs.fields(sections[section])}
        for key in values:
            if key not in known:
                raise ConfigError(f"{where}: unknown key {section}.{key}{_meant(key, known)}")


def _check_renamed(table: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError if a setting has a value under its old name and under its new one."""
    for section, old, new in _RENAMED:
        if {old, new} <= table.get(section, {}).keys():
            text = f"{section}.{old} is the old name of {section}.{new}, and both are set; remove {section}.{old}"
            raise ConfigError(f"{where}: {text}")


def _meant(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _convert(table: Mapping[str, Any], *, strict: bool, where: str) -> Config:
    try:
        return msgspec.convert(table, Config, strict=strict)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at ")
        key = place.strip("`").removeprefix("$").removeprefix(".")
        raise ConfigError(f"{where}: {key}: {text}" if key else f"{where}: {text}") from None


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _overlay(merged[key], value) if both else value
    return merged


def _leaves(table: Mapping[str, Any]) -> list[str]:
    return [f"{section}.{key}" for section, values in table.items() for key in values]


def _complete(config: Config, home: Home, bundle: Path | None) -> Config:
    """Fill in the values that depend on HOME, so that other code need not know the defaults."""
    change = msgspec.structs.replace
    folder = bundle.absolute() if bundle else demo_bundle()
    if not bundle and config.engine.bundle:
        folder = home.root / Path(config.engine.bundle).expanduser()
    if not bundle and config.detect.mode != "off":  # a bundle of the command line is run as it is
        folder = bundle_with_detector(home, folder, config.detect)
    return change(
        config,
        stream=change(config.stream, url=config.stream.url or home.stream_url),
        store=change(config.store, url=config.store.url or home.store_url),
        engine=change(config.engine, bundle=str(folder)),
        intake=change(config.intake, allowed_roots=_with(config.intake.allowed_roots, str(home.uploads))),
    )


def _with(roots: tuple[str, ...], more: str) -> tuple[str, ...]:
    return roots if more in roots else (*roots, more)


_PASSWORD_IN_URL = re.compile(r"(?P<head>\w[\w+.-]*://[^\s/:@]*):[^\s/]*@")
_SECRET_PARAMETER = re.compile(r"(?i)([?&;][^=&\s]*(?:password|secret|token|key)[^=&\s]*=)[^&\s]*")
_SECRET_KEY = re.compile(r"(?i)password|secret|token|api_key")


def hide_secrets(key: str, value: Any) -> Any:
    """The value as it may be printed. `***` replaces passwords in URLs, secret parameters, and whole values of secret
    keys."""
    if isinstance(value, str):
        if value and _SECRET_KEY.search(key):
            return "***"
        return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD_IN_URL.sub(r"\g<head>:***@", value))
    if isinstance(value, Mapping):
        return {k: hide_secrets(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [hide_secrets(key, v) for v in value]
    return value
