"""The bundle that `[engine]` and `[detect]` describe together."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

import engines.detection
from engines.detection import DETECTOR_BACKENDS
from groknet.home.config import load_config
from groknet.home.detecting import open_detector, query_looking
from groknet.home.epochs import configured_epochs, find_bundle
from groknet.home.paths import Home
from schemas.boxes import DetectPlan
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import load_manifest, write_manifest
from tests.engines.colour_detector import ColourDetector
from tests.engines.detection.test_combine import detector
from tests.engines.tiny_bundle import write_tiny_bundle


@pytest.fixture
def home(tmp_path: Path) -> Home:
    write_tiny_bundle(tmp_path / "plain")
    detector(tmp_path / "finder")
    return Home(tmp_path)


def epoch(home: Home, **detect: object) -> str:
    """The epoch of the home with these settings in its file."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in detect.items()]
    home.config_file.write_text("\n".join(['[engine]\nbundle = "plain"', "[detect]", *lines]))
    return load_manifest(Path(load_config(home, {}).config.engine.bundle)).epoch


def test_without_detection_bundle_and_epoch_are_the_plain_ones(home: Home) -> None:
    plain = load_manifest(home.root / "plain")
    assert epoch(home) == epoch(home, bundle="finder", padding=0.2) == plain.epoch
    assert load_config(home, {}).config.engine.bundle == str(home.root / "plain")
    assert not (home.root / "bundles").exists()


def test_every_setting_on_the_way_to_the_hash_makes_another_epoch_and_others_do_not(home: Home) -> None:
    on = {"mode": "subject", "bundle": "finder"}
    found = [
        epoch(home, **on),
        epoch(home, **on, padding=0.2),
        epoch(home, **on, threshold=0.7),
        epoch(home, **(on | {"mode": "all"})),
        epoch(home, **(on | {"mode": "all"}), most_boxes=3),
        epoch(home),
    ]
    assert len(set(found)) == len(found)
    assert epoch(home, **on, backend="openvino", batch=2) == epoch(home, **on, most_boxes=3) == found[0]
    detector(home.root / "other", "ffffffffffff")
    assert epoch(home, **(on | {"bundle": "other"})) not in found


def test_the_joined_bundle_is_made_once_and_found_by_its_epoch(home: Home) -> None:
    first = epoch(home, mode="all", bundle="finder", most_boxes=5, threshold=0.3)
    folder = Path(load_config(home, {}).config.engine.bundle)
    assert folder.parent == home.root / "bundles"
    assert folder.name.startswith(f"{first}-")
    made = (folder / "manifest.json").stat()
    loaded = load_config(home, {})
    assert (folder / "manifest.json").stat().st_mtime_ns == made.st_mtime_ns
    plan = DetectPlan(mode="all", detector_id="0123456789ab", padding=0.05, threshold=0.3, most_boxes=5)
    assert load_manifest(folder).detection == plan
    assert find_bundle(loaded, configured_epochs(loaded), first) == folder
    again = load_config(home, {}, bundle=folder)  # as a supervisor names it to its workers
    assert again.config.engine.bundle == str(folder)


def test_what_is_missing_is_named(home: Home) -> None:
    with pytest.raises(ConfigError, match=r"detect\.bundle: mode 'subject' needs a detector"):
        epoch(home, mode="subject")
    with pytest.raises(BundleRefused, match="a detector bundle is a folder"):
        epoch(home, mode="subject", bundle="nowhere")
    with pytest.raises(ConfigError, match=r"detect\.bundle: .* cannot be read: File name too long"):
        epoch(home, mode="subject", bundle="n" * 300)  # any error of the system while a file is read
    epoch(home, bundle="n" * 300)
    loaded = load_config(home, {})
    with pytest.raises(ConfigError, match=r"detect\.bundle: .* cannot be read: File name too long"):
        open_detector(loaded, searching=True)
    (home.root / "bundles").write_text("no folder")
    with pytest.raises(ConfigError, match=r"cannot be joined into .*/bundles/"):
        epoch(home, mode="subject", bundle="finder")
    with pytest.raises(ConfigError, match=r"detect\.backend: Invalid enum value 'abacus'"):
        epoch(home, backend="abacus")
    for name in DETECTOR_BACKENDS:
        epoch(home, backend=name)
    with pytest.raises(ConfigError, match=r"detect\.mode"):
        epoch(home, mode="some", bundle="finder")


def test_a_bundle_of_the_command_line_is_taken_as_it_is(home: Home) -> None:
    joined = epoch(home, mode="all", bundle="finder")
    given = load_config(home, {}, bundle=home.root / "plain")
    assert given.config.engine.bundle == str(home.root / "plain")
    assert load_manifest(Path(given.config.engine.bundle)).epoch != joined
    assert not given.follows


def test_two_bundles_of_one_epoch_have_a_folder_each(home: Home) -> None:
    """The second one has its heads trained again: same epoch, another model version."""
    first = epoch(home, mode="all", bundle="finder")
    folder = Path(load_config(home, {}).config.engine.bundle)
    plain = load_manifest(home.root / "plain")
    write_manifest(home.root / "plain", msgspec.structs.replace(plain, model_version="refitted"))
    assert epoch(home, mode="all", bundle="finder") == first
    other = Path(load_config(home, {}).config.engine.bundle)
    versions = [load_manifest(one).model_version for one in (folder, other)]
    assert versions[0].startswith(plain.model_version)
    assert versions[1].startswith("refitted")


def test_a_bundle_whose_detector_is_another_one_leaves_none_open(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector tells when it is closed; the manifest names another one."""
    epoch(home, mode="all", bundle="finder")
    loaded = load_config(home, {})
    manifest = load_manifest(Path(loaded.config.engine.bundle))
    closed: list[str] = []

    class Told(ColourDetector):
        def close(self) -> None:
            closed.append(self.detector_id)

    monkeypatch.setattr(engines.detection, "open_detector", lambda *_, **__: Told())
    with pytest.raises(ConfigError, match="needs detector 0123456789ab, there is c0104de7ec70"):
        query_looking(loaded, manifest)
    assert closed == ["c0104de7ec70"]
