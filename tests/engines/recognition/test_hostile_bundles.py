"""Bundles of strangers: weights outside of the manifest, archives that explode, names that lead elsewhere."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from engines.recognition import build_engine, load_bundle
from engines.recognition.bundles.external_data import external_files
from schemas.errors import BundleRefused
from schemas.manifest import CARD_FILE, MODEL_FILE, PARITY_FILE, sha256_file
from tests.engines.tiny_bundle import seal, tiny_graph, write_tiny_bundle
from tests.fuzz.bundles import bomb

WEIGHTS = "weights.bin"


def write_external(folder: Path, location: str = WEIGHTS) -> None:
    """The tiny bundle with its weights in a file beside the graph, as onnx itself writes it."""
    write_tiny_bundle(folder)
    graph = tiny_graph()
    external_data_helper.convert_model_to_external_data(graph, location=WEIGHTS, size_threshold=100)
    onnx.save(graph, str(folder / MODEL_FILE))
    if location != WEIGHTS:
        data = (folder / MODEL_FILE).read_bytes()
        (folder / MODEL_FILE).write_bytes(data.replace(WEIGHTS.encode(), location.encode()))


def sealed(folder: Path, *more: str) -> None:
    seal(folder, files={name: sha256_file(folder / name) for name in (MODEL_FILE, PARITY_FILE, CARD_FILE, *more)})


def test_weights_that_no_checksum_covers_are_refused(tmp_path: Path) -> None:
    write_external(tmp_path)
    sealed(tmp_path)
    with pytest.raises(BundleRefused, match=r"reads 'weights\.bin', for which the manifest has no checksum"):
        load_bundle(tmp_path)


def test_weights_in_the_manifest_are_taken_and_their_checksum_counts(tmp_path: Path) -> None:
    write_external(tmp_path)
    sealed(tmp_path, WEIGHTS)
    engine = build_engine(tmp_path, threads=1)
    photos = load_bundle(tmp_path).photos
    assert np.array_equal(engine.infer(photos).embedding, _embedding(tmp_path / "plain", photos))
    engine.close()
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[0] ^= 1
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(BundleRefused, match=r"files\.weights\.bin: its sha256 differs"):
        build_engine(tmp_path)


def _embedding(folder: Path, photos: np.ndarray) -> np.ndarray:
    write_tiny_bundle(folder)
    engine = build_engine(folder, threads=1)
    embedding = engine.infer(photos).embedding
    engine.close()
    return embedding


@pytest.mark.parametrize("location", ["../weigh.bn", "/tmp/weig.b", "./weights.b"])
def test_a_path_outside_is_refused_whatever_the_manifest_says(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "bundle"
    write_external(folder, location)
    (tmp_path / "weigh.bn").write_bytes((folder / WEIGHTS).read_bytes())
    sealed(folder)
    with pytest.raises(BundleRefused, match="no checksum"):
        load_bundle(folder)
    sealed(folder, WEIGHTS)
    with pytest.raises(BundleRefused, match="no checksum"):
        load_bundle(folder)


def test_external_data_is_found_wherever_a_graph_can_hold_a_tensor() -> None:
    def tensor(location: str) -> TensorProto:
        made = numpy_helper.from_array(np.ones(2, np.float32), location)
        external_data_helper.set_external_data(made, location)
        return made

    def graph(name: str) -> onnx.GraphProto:
        node = helper.make_node("Constant", [], ["c"], value=tensor(f"{name}-constant"))
        return helper.make_graph([node], name, [], [], [tensor(f"{name}-initializer")])

    outer = graph("outer")
    inner = helper.make_node("If", ["c"], ["d"], then_branch=graph("then"), else_branch=graph("else"))
    several = helper.make_node("X", [], ["e"], many=[tensor("one"), tensor("two")], graphs=[graph("listed")])
    outer.node.extend([inner, several])
    values = tensor("sparse-values")
    outer.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.arange(2), "sparse-indices"), [9])
    )
    model = helper.make_model(outer)
    function = model.functions.add()
    function.node.append(helper.make_node("Constant", [], ["f"], value=tensor("function")))
    names = {f"{name}-{kind}" for name in ("outer", "then", "else", "listed") for kind in ("constant", "initializer")}
    assert external_files(model.SerializeToString()) == names | {"one", "two", "sparse-values", "function"}
    assert external_files(tiny_graph().SerializeToString()) == set()


@pytest.mark.slow
def test_an_archive_is_judged_before_it_is_unpacked(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    (tmp_path / PARITY_FILE).write_bytes(bomb())
    sealed(tmp_path)
    with pytest.raises(BundleRefused, match=r"'photos\.npy' unpacks to 900,000,128 bytes"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["photos.npy", "../evil.py"], "is no array"),
        ([f"{i}.npy" for i in range(1_025)], "more than 1024 arrays"),
    ],
)
def test_members_that_are_no_arrays_and_too_many_of_them_are_refused(tmp_path: Path, names, said: str) -> None:
    write_tiny_bundle(tmp_path)
    with zipfile.ZipFile(tmp_path / PARITY_FILE, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    sealed(tmp_path)
    with pytest.raises(BundleRefused, match=said):
        load_bundle(tmp_path)


@pytest.mark.parametrize("link", [True, False])
def test_a_file_elsewhere_is_no_part_of_a_bundle(tmp_path: Path, link: bool) -> None:
    folder = tmp_path / "bundle"
    write_tiny_bundle(folder)
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"x")
    name = "inside.bin" if link else "../outside.bin"
    if link:
        (folder / name).symlink_to(outside)
    seal(folder, files={MODEL_FILE: sha256_file(folder / MODEL_FILE), name: sha256_file(outside)})
    with pytest.raises(BundleRefused, match=r"not in the bundle|no checksum"):
        load_bundle(folder)
