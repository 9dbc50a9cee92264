"""`engine.backend = "auto"`: measured once, kept, and measured again when bundle or machine change."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines.recognition import build_engine
from groknet.home.config import Loaded, load_config
from groknet.home.paths import Home
from groknet.run import fastest
from groknet.run.fastest import choose, kept, open_engine
from schemas.errors import BundleRefused
from tests.engines.tiny_bundle import SIZE, write_tiny_bundle
from tests.groknet.conftest import write_photo

pytestmark = pytest.mark.slow


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    write_tiny_bundle(tmp_path / "bundle")
    for i in range(4):
        write_photo(tmp_path / f"photos/{i}.jpg", i)
    home = Home(tmp_path / "home").make()
    home.config_file.write_text(
        f"[engine]\nbundle = '{tmp_path}/bundle'\nbackend = 'auto'\ncalibration_photos = '{tmp_path}/photos'\n"
    )
    return load_config(home, {})


def test_the_choice_is_measured_once_and_kept(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, told = Path(loaded.config.engine.bundle), list[float]()
    assert kept(loaded, bundle) is None
    choice = choose(loaded, bundle, lambda share, what: told.append(share))
    assert told[-1] == 1
    tried = [(entry.candidate.backend, entry.candidate.precision) for entry in choice.entries]
    assert tried[:3] == [("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "int8")]
    assert choice.entries[0].images_per_s is not None
    assert choice.backend in ("onnxruntime", "openvino")
    assert kept(loaded, bundle) == choice
    monkeypatch.setattr(fastest, "_measured", pytest.fail)
    assert choose(loaded, bundle) == choice

    photos = np.random.default_rng(5).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
    engine = open_engine(loaded)
    expected = build_engine(choice.folder, choice.backend).infer(photos)
    assert engine.backend == choice.backend
    np.testing.assert_array_equal(engine.infer(photos).hash, expected.hash)
    engine.close()


def test_a_choice_of_other_conditions_is_not_used(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Path(loaded.config.engine.bundle)
    choice = choose(loaded, bundle)
    monkeypatch.setattr(fastest, "_version", lambda package: "99")
    assert kept(loaded, bundle) is None
    monkeypatch.undo()
    monkeypatch.setattr(fastest, "_gpus", lambda: ["Model: another GPU"])
    assert kept(loaded, bundle) is None
    monkeypatch.undo()
    assert kept(loaded, bundle) == choice
    file = next((loaded.home.root / "engines").glob("*.json"))
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(choice, folder=str(bundle / "gone"))))
    assert kept(loaded, bundle) is None
    with pytest.raises(BundleRefused):
        kept(loaded, bundle / "gone")
