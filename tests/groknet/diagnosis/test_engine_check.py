"""`groknet doctor` on the engine's back end: what runs, and what would be faster."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engines.recognition.own_backend import remember_backend
from groknet.diagnosis import engine_check as room
from groknet.diagnosis.engine_check import engine_check
from groknet.home.config import load_config
from groknet.home.paths import Home
from groknet.run import fastest
from groknet.run.fastest import Choice
from tests.engines.tiny_bundle import write_tiny_bundle


def test_doctor_names_what_would_be_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, home = tmp_path / "bundle", Home(tmp_path / "home").make()
    write_tiny_bundle(bundle)

    def check(backend: str = "", photos: str = "") -> tuple[str, str, str]:
        environment = {"GROKNET__ENGINE__BACKEND": backend, "GROKNET__ENGINE__CALIBRATION_PHOTOS": photos}
        found = engine_check(load_config(home, environment, bundle=bundle))
        return found.state, found.detail, found.remedy

    with monkeypatch.context() as without:
        without.setattr(room, "installed", lambda package: False)
        state, detail, remedy = check()
        assert (state, detail) == ("note", "onnxruntime")
        assert remedy.startswith("pip install 'groknet[openvino]'")
        assert check("torch") == ("ok", "torch", "")
    monkeypatch.setattr(room, "installed", lambda package: True)
    assert check()[2].startswith('set engine.backend = "auto"')
    assert check("auto")[1] == "auto; not measured yet, the first start does it"
    assert check("auto")[2].startswith("set engine.calibration_photos")

    loaded = load_config(home, {}, bundle=bundle)
    reason = "openvino int8 takes 170 photos/s here"
    key = fastest._key(loaded, bundle)
    choice = Choice(key=key, backend="openvino", folder=str(bundle), reason=reason, entries=[])
    file = fastest._file(home, bundle)
    file.parent.mkdir()
    file.write_bytes(msgspec.json.encode(choice))
    assert check()[:2] == ("note", f"onnxruntime; measured here: {reason}")
    assert check()[2].startswith('set engine.backend = "auto"')
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(choice, backend="onnxruntime")))
    assert check()[0] == "ok"
    file.write_bytes(msgspec.json.encode(choice))
    remember_backend(bundle, "openvino")
    assert check()[:2] == ("ok", f"openvino; measured here: {reason}")
