"""The demo bundle on ncnn: the same answers, and faults that are refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from engines.recognition import load_bundle
from engines.recognition.bundles.parity import check_parity
from schemas.errors import BundleRefused, ConfigError
from training.bundle.phone import PARAM_FILE, WEIGHTS_FILE, Phone, cut, export_phone, run_ncnn

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[3] / "training" / "bundles" / "demo"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Phone]:
    folder = tmp_path_factory.mktemp("phone") / "demo"
    return folder, export_phone(DEMO, folder)


def test_ncnn_gives_the_bundles_parity_outputs(exported: tuple[Path, Phone]) -> None:
    folder, phone = exported
    bundle = load_bundle(DEMO)
    assert msgspec.json.decode((folder / "phone.json").read_bytes(), type=Phone) == phone
    assert list(phone.outputs) == list(bundle.outputs)
    got = run_ncnn(folder, phone, bundle)
    check_parity(bundle, got)
    np.testing.assert_allclose(np.linalg.norm(got["embedding"], axis=1), 1, atol=1e-4)
    assert (folder / "manifest.json").read_bytes() == (DEMO / "manifest.json").read_bytes()


def test_altered_weights_and_swapped_blobs_are_refused(exported: tuple[Path, Phone], tmp_path: Path) -> None:
    folder, phone = exported
    bundle = load_bundle(DEMO)
    heads = [head.output for head in bundle.manifest.heads if len(head.labels) > 1]
    a, b = heads[0], heads[1]
    swapped = phone.outputs | {a: phone.outputs[b], b: phone.outputs[a]}
    with pytest.raises(BundleRefused, match=a):
        check_parity(bundle, run_ncnn(folder, msgspec.structs.replace(phone, outputs=swapped), bundle))
    data = bytearray((folder / WEIGHTS_FILE).read_bytes())
    half = len(data) // 2 // 4 * 4
    data[half:] = np.frombuffer(data[half:], np.float32).__mul__(np.float32(1.1)).tobytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(data)
    (tmp_path / PARAM_FILE).write_bytes((folder / PARAM_FILE).read_bytes())
    with pytest.raises(BundleRefused, match=r"parity\."):
        check_parity(bundle, run_ncnn(tmp_path, phone, bundle))


def test_the_cut_graph_takes_planes_and_gives_logits() -> None:
    bundle = load_bundle(DEMO)
    graph, size = cut(onnx.load(bundle.model_path), bundle).graph, bundle.manifest.preprocess
    (taken,) = graph.input
    assert [d.dim_value for d in taken.type.tensor_type.shape.dim] == [1, 3, size.height, size.width]
    assert [v.type.tensor_type.shape.dim[1].dim_value for v in graph.output][-2:] == [400, 256]
    assert not {"Cast", "Greater", "Transpose"} & {node.op_type for node in graph.node}


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match="there already"):
        export_phone(DEMO, tmp_path / "there")
    with pytest.raises(BundleRefused, match=r"manifest\.json"):
        export_phone(tmp_path, tmp_path / "new")
    assert not list(tmp_path.glob("new*"))
    bundle = load_bundle(DEMO)
    model = onnx.load(bundle.model_path)
    signs = next(node for node in model.graph.node if node.op_type == "Greater")
    signs.op_type = "Less"
    with pytest.raises(BundleRefused, match="expected one cast"):
        cut(model, bundle)
