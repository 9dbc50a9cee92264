"""Engines built for real with TensorRT for RTX, which needs no GPU to build: inputs, outputs, profiles, refusals."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import get_args

import msgspec
import onnx
import pytest

from engines.gpu.driver import Device
from engines.gpu.profiles import Profiles
from engines.recognition import build_engine, load_bundle
from engines.recognition.bundles.bundle import Bundle
from engines.recognition.gpu_graph import prepare
from engines.recognition.outputs.tops import INDICES, VALUES
from engines.recognition.precision import Precision, convert, write_bundle
from engines.recognition.tensorrt.build import build
from engines.recognition.tensorrt.cache import FOLDER, EngineCache
from engines.recognition.tensorrt.library import Library
from engines.recognition.tensorrt.manifest import EngineManifest, misfit
from engines.recognition.tensorrt.plan import THIS_GPU, Share, build_plan, targets
from groknet.home.config import demo_bundle
from schemas.errors import BundleRefused, ConfigError
from tests.engines.tiny_bundle import tiny_graph, write_tiny_bundle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="TensorRT for RTX is published for Linux and Windows on x86-64",
    ),
]
SMALL = Profiles((1, 2))
H200 = Device(name="NVIDIA H200", capability="sm90")
ADA = Device(name="NVIDIA L4", capability="sm89")


@pytest.fixture(scope="module")
def resnext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ResNeXt-101 32x4d at 224 pixels, random weights; few heads, since each of 80 is compiled for nine profiles."""
    from training.bundle.reference import write_reference

    folder = tmp_path_factory.mktemp("resnext") / "bundle"
    write_reference(folder, heads=8)
    return folder


def at(folder: Path, precision: str, out: Path) -> Bundle:
    """The bundle in that precision, INT8 calibrated on its parity photos."""
    bundle = load_bundle(folder)
    if precision == bundle.manifest.precision:
        return bundle
    write_bundle(folder, out, precision, bundle.photos)
    return load_bundle(out)


def expected_tensors(bundle: Bundle) -> dict[str, tuple[str, str, list[int]]]:
    manifest = bundle.manifest
    size = manifest.preprocess
    found = {"photos": ("input", "uint8", [-1, size.height, size.width, 3])}
    for head in manifest.heads:
        if len(head.labels) > manifest.top_k and not head.class_calibration:
            found[head.output + VALUES] = ("output", "float32", [-1, manifest.top_k])
            found[head.output + INDICES] = ("output", "int32", [-1, manifest.top_k])
        else:
            found[head.output] = ("output", "float32", [-1, len(head.labels)])
    if manifest.applicability is not None:
        found[manifest.applicability.output] = ("output", "float32", [-1, len(manifest.applicability.domains)])
    found["embedding"] = ("output", "float32", [-1, manifest.embedding.dim])
    found["hash"] = ("output", "uint8", [-1, 32])
    return found


def assert_whole(engine: EngineManifest, bundle: Bundle, precision: str, folder: Path, library: Library) -> None:
    assert {t.name: (t.mode, t.dtype, t.shape) for t in engine.tensors} == expected_tensors(bundle)
    assert [(p.min, p.opt, p.max) for p in engine.profiles] == [(1, 1, 1), (1, 8, 8), (1, 32, 32)]
    assert (engine.precision, engine.target, engine.device) == (precision, "portable", None)
    assert (engine.library, engine.library_version) == ("tensorrt_rtx", library.module.__version__)
    assert (engine.epoch, engine.model_version) == (bundle.manifest.epoch, bundle.manifest.model_version)
    assert len(EngineCache(folder).read(engine)) == engine.plan_bytes > 1_000_000
    assert misfit(engine, library, H200, bundle) == ""


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_demo_bundle(precision: str, tmp_path: Path, library: Library) -> None:
    bundle = at(demo_bundle(), precision, tmp_path / "bundle")
    key, engine = build(bundle, library, tmp_path / "e", profiles=Profiles(), target="portable")
    assert_whole(engine, bundle, precision, tmp_path / "e", library)
    assert EngineCache(tmp_path / "e").choose(library, H200, bundle) == (key, engine)


def test_resnext_101_in_three_precisions(resnext: Path, library: Library) -> None:
    bundle, size = load_bundle(resnext), {}
    model = onnx.load(bundle.model_path)
    for precision in get_args(Precision):
        graph = prepare(convert(model, precision, bundle.photos[:1]), bundle.manifest)
        plan = build_plan(library, graph.SerializeToString(), Profiles(), "portable")
        assert {t.name: (t.mode, t.dtype, t.shape) for t in plan.tensors} == expected_tensors(bundle)
        assert plan.profiles == 3
        size[precision] = len(plan.data)
    assert size["fp16"] < 0.75 * size["fp32"]  # the weights halve; compiled kernels of three profiles do not
    assert size["int8"] < 0.75 * size["fp32"]


@pytest.fixture
def built(tiny: Path, library: Library) -> tuple[Bundle, str, EngineManifest]:
    bundle = load_bundle(tiny)
    return bundle, *build(bundle, library, tiny / FOLDER, profiles=SMALL, target="portable")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("library", "tensorrt", "neither reads the other's"),
        ("library_version", "0.9", "library_version: built with 0.9"),
        ("device", ADA, r"built on NVIDIA L4 \(sm89\), and this is NVIDIA H200 \(sm90\)"),
        ("target", "sm89", "target: built for sm89"),
        ("epoch", "ffffffffffff", "epoch: its hashes"),
        ("model_version", "other-1", "model_version: built from other-1"),
        ("onnx_sha256", "0" * 64, "onnx_sha256"),
    ],
)
def test_a_foreign_engine_is_refused_with_the_reason(
    built: tuple[Bundle, str, EngineManifest], library: Library, field: str, value: object, reason: str
) -> None:
    bundle, key, engine = built
    cache = EngineCache(bundle.folder / FOLDER)
    cache.write_manifest(key, msgspec.structs.replace(engine, **{field: value}))
    with pytest.raises(BundleRefused, match=f"{key}: .*{reason}.*groknet engine build"):
        cache.choose(library, H200, bundle)


def test_the_nearest_engine_is_chosen(built: tuple[Bundle, str, EngineManifest], library: Library) -> None:
    """This very GPU, then its capability, then portable."""
    bundle, _, portable = built
    cache = EngineCache(bundle.folder / FOLDER)
    for key, fields in (("00", {"target": "sm89"}), ("ff", {"target": THIS_GPU, "device": ADA})):
        assert cache.choose(library, ADA, bundle) is not None
        cache.write_manifest(key, msgspec.structs.replace(portable, **fields))
        chosen = cache.choose(library, ADA, bundle)
        assert chosen is not None
        assert chosen[0] == key


def test_no_engine_is_no_refusal(tiny: Path, library: Library) -> None:
    assert EngineCache(tiny / FOLDER).choose(library, H200, load_bundle(tiny)) is None


def test_an_altered_plan_is_refused(built: tuple[Bundle, str, EngineManifest]) -> None:
    bundle, _, engine = built
    cache = EngineCache(bundle.folder / FOLDER)
    path = cache.plan_path(engine)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleRefused, match="cut short"):
        cache.read(engine)
    path.unlink()
    with pytest.raises(BundleRefused, match="absent"):
        cache.read(engine)


def test_a_manifest_that_cannot_be_read_is_refused(built: tuple[Bundle, str, EngineManifest]) -> None:
    bundle, key, _ = built
    (bundle.folder / FOLDER / f"{key}.json").write_text('{"format_version": 2}')
    with pytest.raises(BundleRefused, match=r"format_version.*delete it"):
        EngineCache(bundle.folder / FOLDER).manifests()


def test_a_write_that_breaks_off_leaves_what_was_there(
    built: tuple[Bundle, str, EngineManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses: the older engine is whole, and no part of the newer is left."""
    bundle, key, engine = built
    folder = bundle.folder / FOLDER
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    newer = msgspec.structs.replace(engine, plan_sha256="1" * 64)
    with pytest.raises(OSError, match="No space"):
        EngineCache(folder).write(key, b"newer", newer)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_second_build_replaces_the_first(built: tuple[Bundle, str, EngineManifest], library: Library) -> None:
    bundle, key, _ = built
    again, engine = build(bundle, library, bundle.folder / FOLDER, profiles=SMALL, target="portable")
    assert again == key
    names = sorted(path.suffix for path in (bundle.folder / FOLDER).iterdir())
    assert names == [".json", ".plan"]
    assert EngineCache(bundle.folder / FOLDER).read(engine)


def test_keys_differ_by_all_that_a_plan_depends_on(tiny: Path, library: Library, tmp_path: Path) -> None:
    bundle = load_bundle(tiny)
    keys = {
        build(bundle, library, tmp_path, profiles=profiles, target=target)[0]
        for profiles, target in ((SMALL, "portable"), (Profiles((2,)), "portable"), (SMALL, "sm89"))
    }
    write_tiny_bundle(tmp_path / "other", tiny_graph(seed=5))
    keys.add(build(load_bundle(tmp_path / "other"), library, tmp_path, profiles=SMALL, target="portable")[0])
    assert len(keys) == 4


def test_targets(tiny: Path, library: Library, tmp_path: Path) -> None:
    """Hopper is none of its targets; a capability that is one builds."""
    assert targets(library)[0] == "portable"
    assert "sm89" in targets(library)
    with pytest.raises(ConfigError, match=r"builds for portable, sm75.*not for sm90"):
        build(load_bundle(tiny), library, tmp_path, profiles=SMALL, target="sm90")
    _, engine = build(load_bundle(tiny), library, tmp_path, profiles=SMALL, target="sm89")
    assert misfit(engine, library, ADA, load_bundle(tiny)) == ""
    assert "target" in misfit(engine, library, H200, load_bundle(tiny))


def test_a_graph_that_the_library_does_not_take(tiny: Path, library: Library) -> None:
    """Bytes are transposed in their own type, which `prepare` would have seen to: its own last line says so."""
    graph = tiny_graph()
    cast, scale, transpose = graph.graph.node[:3]
    transpose.input[0], transpose.output[0], cast.input[0], scale.output[0] = "photos", "moved", "moved", "nchw"
    del graph.graph.node[2]
    graph.graph.node.insert(0, transpose)
    with pytest.raises(BundleRefused, match=r"model.onnx: tensorrt_rtx [\d.]+ refused \(.*UInt8"):
        build_plan(library, graph.SerializeToString(), SMALL, "portable")
    with pytest.raises(BundleRefused, match="refused"):
        build_plan(library, b"not a graph", SMALL, "portable")


def test_an_input_that_is_not_photos(library: Library, tiny: Path) -> None:
    graph = prepare(tiny_graph(), load_bundle(tiny).manifest)
    graph.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    with pytest.raises(BundleRefused, match="not uint8"):
        build_plan(library, graph.SerializeToString(), SMALL, "portable")


def test_progress_rises_to_one(tiny: Path, library: Library, tmp_path: Path) -> None:
    shares: list[float] = []
    build(load_bundle(tiny), library, tmp_path, profiles=SMALL, target="portable", progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(set(shares)) > 5


def test_an_interrupt_stops_the_build(tiny: Path, library: Library, tmp_path: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(load_bundle(tiny), library, tmp_path, profiles=SMALL, target="portable", progress=interrupt)
    assert list(tmp_path.glob("*.plan")) == []


def test_share_of_nested_phases() -> None:
    share = Share()
    share.start("all", None, 2)
    share.start("first", "all", 4)
    share.step("first", 1)
    assert share.value == pytest.approx(0.25)  # half of the first of two steps
    share.finish("first")
    share.step("all", 0)
    assert share.value == pytest.approx(0.5)
    share.start("second", "all", 10)
    share.step("second", 0)
    assert share.value == pytest.approx(0.55)
    share.finish("second")
    share.finish("all")
    assert share.value == 1.0


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")
def test_running_without_a_gpu_is_refused_plainly(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="no GPU can be used here"):
        build_engine(tiny, "tensorrt_rtx")
