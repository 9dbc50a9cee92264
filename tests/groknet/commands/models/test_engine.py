from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import pytest

from groknet.cli.exits import Exit
from tests.groknet.conftest import Call, write_photo

pytestmark = pytest.mark.slow

ON_RTX = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="TensorRT for RTX is published for Linux and Windows on x86-64",
)
NO_GPU = pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(5):
        write_photo(tmp_path / f"photos/{i % 2}/{i}.jpg", i)
    (tmp_path / "photos/readme.txt").write_text("no photo")
    return tmp_path / "photos"


@ON_RTX
def test_build_inspect_verify(groknet: Call, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "engine"
    answer = groknet("engine", "build", bundle, "--backend", "tensorrt_rtx", "--batch", "1,4", "--out", out, "--json")
    assert answer.code == Exit.OK, answer.err
    assert answer.json["folder"] == str(out)
    (key, engine), *more = answer.json["engines"].items()
    assert more == []
    assert engine["profiles"] == [{"min": 1, "opt": 1, "max": 1}, {"min": 1, "opt": 4, "max": 4}]
    assert engine["parity"] is None
    assert (out / "engines" / f"{key}.json").is_file()

    told = groknet("engine", "inspect", out, "--json").json
    assert told == {name: value for name, value in answer.json.items() if name != "folder"}
    text = groknet("engine", "inspect", out).out
    assert "1..4 photos" in text
    assert "photos uint8 [-1, 16, 16, 3]" in text
    assert "not run on a GPU yet" in text

    on_cpu = groknet("engine", "verify", out, "--backend", "onnxruntime", "--json")  # the same folder is a bundle
    assert on_cpu.code == Exit.OK
    assert on_cpu.json["parity"] == "passed"
    assert on_cpu.json["plans"] == [key]


@ON_RTX
@NO_GPU
def test_without_a_gpu_verify_says_what_it_did_not_do(groknet: Call, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "engine"
    assert groknet("engine", "build", bundle, "--backend", "tensorrt_rtx", "--out", out).code == Exit.OK
    answer = groknet("engine", "verify", out, "--backend", "tensorrt_rtx")
    assert answer.code == Exit.NOT_RUNNING
    assert "1 plans ok; parity not run: backend: no GPU can be used here" in answer.err
    plan = next((out / "engines").glob("*.plan"))
    plan.write_bytes(plan.read_bytes()[1:])
    answer = groknet("engine", "verify", out, "--backend", "tensorrt_rtx")
    assert answer.code == Exit.USAGE
    assert "cut short or altered" in answer.err
    answer = groknet("engine", "bench", out, "--backend", "tensorrt_rtx")
    assert answer.code == Exit.USAGE
    assert "no GPU can be used here" in answer.err


def test_int8_for_the_cpu_is_calibrated_on_a_folder(groknet: Call, bundle: Path, photos: Path, tmp_path: Path) -> None:
    from engines.recognition.engine_folder import calibration_photos
    from schemas.manifest import load_manifest

    pixels = calibration_photos(photos, load_manifest(bundle).preprocess)
    assert pixels.shape == (5, 16, 16, 3)
    assert len(np.unique(pixels.reshape(5, -1), axis=0)) == 5

    out = tmp_path / "engine"
    build = ("engine", "build", bundle, "--backend", "onnxruntime", "--precision", "int8", "--out", out)
    answer = groknet(*build)
    assert answer.code == Exit.USAGE
    assert "calibrated on photos" in answer.err
    assert not out.exists()
    answer = groknet(*build, "--photos", tmp_path / "photos/none")
    assert answer.code == Exit.NOT_FOUND
    (tmp_path / "empty").mkdir()
    answer = groknet(*build, "--photos", tmp_path / "empty")
    assert answer.code == Exit.USAGE
    assert "--photos: no .avif" in answer.err
    answer = groknet(*build, "--photos", photos, "--json")
    assert answer.code == Exit.OK, answer.err
    assert answer.json["precision"] == "int8"
    assert answer.json["engines"] == {}
    assert [path.name for path in tmp_path.glob("engine*")] == ["engine"]  # nothing half made is left
    assert "is there already" in groknet(*build, "--photos", photos).err


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch", pytest.param("tensorrt_rtx", marks=ON_RTX)])
def test_every_back_end_in_every_precision(
    groknet: Call, bundle: Path, photos: Path, backend: str, precision: str
) -> None:
    """Built, opened and past its gate; torch has no quantised operators and says so, a plan needs a GPU to run."""
    out = photos.parent / "engine"
    answer = groknet(
        "engine", "build", bundle, "--backend", backend, "--precision", precision, "--photos", photos, "--out", out
    )
    if (backend, precision) == ("torch", "int8"):
        assert (answer.code, "the torch back end has no DequantizeLinear" in answer.err) == (Exit.USAGE, True)
        assert not out.exists()
        return
    assert answer.code == Exit.OK, answer.err
    told = groknet("engine", "inspect", out, "--json").json
    assert (told["precision"], told["backend"]) == (precision, backend)
    assert [plan["precision"] for plan in told["engines"].values()] == [precision] * (backend == "tensorrt_rtx")
    verified = groknet("engine", "verify", out, "--backend", "onnxruntime" if backend == "tensorrt_rtx" else backend)
    assert verified.code == Exit.OK, verified.err


@ON_RTX
def test_a_target_is_compiled_for_or_refused(groknet: Call, bundle: Path, tmp_path: Path) -> None:
    build = ("engine", "build", bundle, "--out", tmp_path / "engine", "--json")
    hopper = groknet(*build, "--backend", "tensorrt_rtx", "--target", "sm90")
    assert (hopper.code, "--target: tensorrt_rtx builds for portable" in hopper.err) == (Exit.USAGE, True)
    none = groknet(*build, "--backend", "openvino", "--target", "sm89")
    assert (none.code, "--target: openvino compiles for no GPU" in none.err) == (Exit.USAGE, True)
    ada = groknet(*build, "--backend", "tensorrt_rtx", "--target", "sm89")
    assert [plan["target"] for plan in ada.json["engines"].values()] == ["sm89"]


def test_bench_measures_each_size(groknet: Call, bundle: Path) -> None:
    answer = groknet("engine", "bench", bundle, "--batch", "1,3", "--seconds", "0.1", "--callers", "2", "--json")
    assert answer.code == Exit.OK, answer.err
    assert [line["batch"] for line in answer.lines] == [1, 3]
    for line in answer.lines:
        assert line["images"] % line["batch"] == 0
        assert line["images_per_s"] > 0
        assert line["latency_ms_p50"] <= line["latency_ms_p99"]
        assert (line["backend"], line["precision"], line["callers"]) == ("onnxruntime", "fp32", 2)
    assert "images/s" in groknet("engine", "bench", bundle, "--batch", "1", "--seconds", "0.1").out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("engine", "build", "no-folder", "--backend", "torch", "--out", "x"), Exit.NOT_FOUND, "no such folder"),
        (("engine", "inspect", "no-folder"), Exit.NOT_FOUND, "no such folder"),
        (("engine", "buidl"), Exit.USAGE, "no command buidl"),
        (("engine", "bench", ".", "--callers", "0"), Exit.USAGE, "--callers"),
    ],
)
def test_what_cannot_be_done_is_said(groknet: Call, arguments: tuple[str, ...], code: Exit, text: str) -> None:
    answer = groknet(*arguments)
    assert answer.code == code
    assert text in answer.err


def test_batch_sizes_that_are_none(groknet: Call, bundle: Path, tmp_path: Path) -> None:
    for batch in ("8,1", "x", "0"):
        answer = groknet(
            "engine", "build", bundle, "--backend", "onnxruntime", "--batch", batch, "--out", tmp_path / "x"
        )
        assert answer.code == Exit.USAGE
        assert "--batch" in answer.err


def test_a_folder_remembers_its_back_end(groknet: Call, bundle: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "engine"
    build = ("engine", "build", bundle, "--backend", "openvino", "--precision", "int8", "--photos", photos)
    assert groknet(*build, "--out", out).code == Exit.OK
    bench = ("engine", "bench", out, "--batch", "1", "--seconds", "0.1", "--json")
    assert groknet(*bench).json["backend"] == "openvino"
    assert groknet(*bench, "--backend", "onnxruntime").json["backend"] == "onnxruntime"
    assert groknet("engine", "verify", out, "--json").json["backend"] == "openvino"
    assert groknet("engine", "verify", bundle, "--json").json["backend"] == "onnxruntime"
