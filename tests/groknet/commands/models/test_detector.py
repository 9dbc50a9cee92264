"""`groknet detector`: from a recipe to a bundle that finds boxes, for processors, in INT8 and for phones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.detection import open_detector
from engines.detection.precision import last_convolutions
from groknet.cli import run
from groknet.cli.exits import Exit
from schemas.detector_manifest import load_detector_manifest
from tests.detectors import bright_detector
from tests.training.detection.tiny import write_squares

RECIPE = """name = "tiny"
side = 64
threads = 1
least_kind = 1

[network]
pretrained = false
channels = 8
depth = 1
frozen = 0

[schedule]
steps = 60
warmup = 5
trunk_rate = 2e-3
head_rate = 4e-3
average = 0.9

[augment]
mosaic = 0.0

[nms]
score = 0.02
most = 10

[[datasets]]
name = "squares"
folder = "squares"
validation = 0.0
share = 4
about = "Drawn squares."
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, recipe, the run of a detector and its bundle."""
    folder = tmp_path_factory.mktemp("detector")
    write_squares(folder / "squares", 12)
    (folder / "tiny.toml").write_text(RECIPE)
    where = ["--data", str(folder), "--out", str(folder / "run")]
    assert run(["detector", "train", str(folder / "tiny.toml"), *where]) == Exit.OK
    assert run(["detector", "export", str(folder / "run"), "--out", str(folder / "bundle")]) == Exit.OK
    return folder


@pytest.mark.slow
def test_the_bundle_finds_the_squares_that_it_learnt(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = load_detector_manifest(trained / "bundle")
    assert manifest.kinds == ["product", "green", "red"]
    card = (trained / "bundle" / "card.md").read_text()
    assert "| squares | 3 | 3 |" in card
    assert "squares: 9 photos. Drawn squares." in card
    places = ["--recipe", str(trained / "tiny.toml"), "--data", str(trained), "--cache", str(trained / "run" / "cache")]
    capsys.readouterr()
    assert run(["detector", "evaluate", str(trained / "bundle"), *places, "--json"]) == Exit.OK
    figures = json.loads(capsys.readouterr().out)
    assert (figures["set"], figures["photos"], figures["boxes"]) == ("squares", 3, 3)
    assert f"| squares | 3 | 3 | {figures['ap50']:.3f}".replace("| 0.", "| .") in card
    detector = open_detector(trained / "bundle")
    pixels = np.asarray(Image.open(trained / "squares" / "0.png").resize((64, 64), Image.Resampling.BILINEAR))
    assert detector.detect(pixels[None])[0]


@pytest.mark.slow
def test_int8_and_speed(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    out = tmp_path / "int8"
    command = ["detector", "int8", str(trained / "bundle"), "--out", str(out), "--photos", str(trained / "squares")]
    assert run(command) == Exit.OK
    manifest, before = load_detector_manifest(out), load_detector_manifest(trained / "bundle")
    assert (manifest.precision, manifest.kinds) == ("int8", before.kinds)
    assert manifest.detector_id != before.detector_id
    graph = onnx.load(out / "model.onnx").graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    eight = {node.name for node in convolutions if made_by.get(node.input[0]) == "DequantizeLinear"}
    assert len(eight) > 20
    assert not eight & last_convolutions(graph)
    capsys.readouterr()
    assert run(["detector", "bench", str(out), "--backend", "openvino", "--seconds", "0.1", "--json"]) == Exit.OK
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["batch"] for line in lines] == [1, 8]
    assert all(line["photos_per_s"] > 0 for line in lines)
    assert run(command) == Exit.USAGE  # the folder is there already


@pytest.mark.slow
def test_for_phones(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    out = tmp_path / "phone"
    assert run(["detector", "phone", str(trained / "bundle"), "--out", str(out)]) == Exit.OK
    told = json.loads((out / "phone.json").read_text())
    assert sorted(told["outputs"]) == ["boxes", "kinds", "scores"]
    assert told["nms"] == {"score": 0.02, "overlap": 0.5, "most": 10}


def test_convolutions_that_answer_are_found(tmp_path: Path) -> None:
    """Of a chain with a branch: the two that no other convolution follows."""
    from onnx import TensorProto, helper

    node, value = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w"], ["c"], name="second"),
        node("Add", ["b", "c"], ["d"]),
        node("Conv", ["d", "w"], ["e"], name="scores"),
        node("Sigmoid", ["e"], ["s"]),
        node("Conv", ["d", "w"], ["f"], name="edges"),
    ]
    ends = [value(name, TensorProto.FLOAT, None) for name in ("s", "f")]
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, None)], ends)
    assert last_convolutions(graph) == {"scores", "edges"}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["train", "none.toml", "--data", ".", "--out", "run"], Exit.NOT_FOUND),
        (["export", "none", "--out", "bundle"], Exit.NOT_FOUND),
        (["bench", "none"], Exit.NOT_FOUND),
        (["int8", "none", "--out", "x", "--photos", "."], Exit.NOT_FOUND),
    ],
)
def test_what_is_missing_is_named(
    command: list[str], code: Exit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["detector", *command]) == code
    assert "none" in capsys.readouterr().err


def test_a_detector_that_is_already_int8_or_has_no_photos_is_refused(tmp_path: Path) -> None:
    from engines.detection.precision import write_int8_detector
    from schemas.errors import ConfigError

    bright_detector(tmp_path / "bundle")
    with pytest.raises(ConfigError, match="about 64"):
        write_int8_detector(tmp_path / "bundle", tmp_path / "out", np.zeros((0, 64, 64, 3), np.uint8))
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        write_int8_detector(tmp_path / "bundle", tmp_path / "there", np.zeros((1, 64, 64, 3), np.uint8))
