"""The parity gate: its figures against plain loops, and every planted fault refused by name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from engines.recognition import Bundle, Calibrator, build_engine, load_bundle
from engines.recognition.parity_gate import Figures, compare, judge, recall_at_1, refuse
from engines.recognition.precision import write_bundle
from schemas.errors import BundleRefused
from schemas.manifest import MODEL_FILE, Gate
from tests.engines.tiny_bundle import seal

Arrays = dict[str, np.ndarray]


@pytest.fixture
def bundle(tiny: Path) -> Bundle:
    return load_bundle(tiny)


def slightly_off(arrays: Arrays, seed: int = 3) -> Arrays:
    """As rounding would change them: a little noise on every float, one bit in fifty."""
    rng = np.random.default_rng(seed)
    changed = {}
    for name, values in arrays.items():
        if values.dtype == np.uint8:
            changed[name] = values ^ np.packbits(rng.random((len(values), 256)) < 0.02, axis=1)
        else:
            changed[name] = (values + rng.normal(0, 0.01, values.shape)).astype(np.float32)
    return changed


def test_figures_are_those_of_plain_loops(bundle: Bundle) -> None:
    expected, outputs, heads = bundle.expected, slightly_off(bundle.expected), bundle.manifest.heads
    agreement, of_best, differences = [], [], []
    for head in heads:
        a, b = expected[head.output], outputs[head.output]
        x, y = (Calibrator(head, 3).calibrate(raw) for raw in (a, b))
        same = [list(a[i]).index(max(a[i])) == list(b[i]).index(max(b[i])) for i in range(len(a))]
        agreement.append(sum(same) / len(same))
        for i in range(len(a)):
            best = list(a[i]).index(max(a[i]))
            of_best.append(abs(float(x[i, best]) - float(y[i, best])))
            differences += [abs(float(x[i, j]) - float(y[i, j])) for j in range(len(a[i]))]
    flips = np.array(
        [
            [bin(p)[2:].zfill(8)[k] != bin(q)[2:].zfill(8)[k] for p, q in zip(r, s, strict=True) for k in range(8)]
            for r, s in zip(expected["hash"].tolist(), outputs["hash"].tolist(), strict=True)
        ]
    )
    apart = max(
        sum((float(p) - float(q)) ** 2 for p, q in zip(r, s, strict=True)) ** 0.5
        for r, s in zip(expected["embedding"], outputs["embedding"], strict=True)
    )
    got = compare(bundle.manifest, expected, outputs)
    assert got.photos == len(bundle.photos)
    assert got.label_agreement == pytest.approx(sum(agreement) / len(agreement))
    assert got.head_agreement == pytest.approx(min(agreement))
    assert got.probability_mean == pytest.approx(sum(of_best) / len(of_best), abs=1e-6)
    assert got.probability_worst == pytest.approx(max(differences), abs=1e-6)
    assert got.embedding == pytest.approx(apart, abs=1e-6)
    assert got.hash_flips == pytest.approx(flips.mean())
    assert got.hash_column == pytest.approx(flips.mean(0).max())
    assert got.recall_at_1 is None


def test_equal_outputs_and_rounding_pass(bundle: Bundle) -> None:
    same = judge(bundle, bundle.expected)
    assert (same.label_agreement, same.probability_worst, same.hash_flips, same.embedding) == (1.0, 0.0, 0.0, 0.0)
    refuse(compare(bundle.manifest, bundle.expected, slightly_off(bundle.expected)), bundle.manifest.gate)


def flipped_column(arrays: Arrays, bundle: Bundle) -> Arrays:
    codes = arrays["hash"].copy()
    codes[:, 5] ^= 0b00010000
    return arrays | {"hash": codes}


def swapped_labels(arrays: Arrays, bundle: Bundle) -> Arrays:
    """The head's most usual label and another change places."""
    raw = arrays["colour"].copy()
    often = int(np.bincount(raw.argmax(1)).argmax())
    other = (often + 1) % raw.shape[1]
    raw[:, [often, other]] = raw[:, [other, often]]
    return arrays | {"colour": raw}


def scaled_embedding(arrays: Arrays, bundle: Bundle) -> Arrays:
    return arrays | {"embedding": arrays["embedding"] * np.float32(1.5)}


def not_a_number(arrays: Arrays, bundle: Bundle) -> Arrays:
    raw = arrays["words"].copy()
    raw[0, 0] = np.nan
    return arrays | {"words": raw}


@pytest.mark.parametrize(
    ("fault", "figure", "limit"),
    [
        (flipped_column, "gate.hash_column: 1", "at most 0.67"),
        (swapped_labels, "gate.(label|head)_agreement: ", "at least 0."),
        (scaled_embedding, "gate.embedding: 0.5", "at most 0.35"),
        (not_a_number, "gate.probability_.*: nan", "at most 0."),
    ],
)
def test_planted_faults_are_refused_by_name(bundle: Bundle, fault: object, figure: str, limit: str) -> None:
    with pytest.raises(BundleRefused, match=f"{figure}.*{limit}"):
        judge(bundle, fault(bundle.expected, bundle))  # type: ignore[operator]


def test_absent_and_misshapen_outputs_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleRefused, match="hash: absent"):
        judge(bundle, {name: values for name, values in bundle.expected.items() if name != "hash"})
    with pytest.raises(BundleRefused, match="embedding: float64"):
        judge(bundle, bundle.expected | {"embedding": bundle.expected["embedding"].astype(np.float64)})


def test_each_limit_is_that_of_the_manifest(bundle: Bundle) -> None:
    """Tightened one at a time, each refuses; loosened, the same figures pass."""
    figures = replace(compare(bundle.manifest, bundle.expected, slightly_off(bundle.expected)), recall_at_1=0.005)
    figures = replace(figures, label_agreement=0.95, head_agreement=0.9)
    for name in Gate.__struct_fields__:
        least = name.endswith("agreement")
        value = getattr(figures, name)
        with pytest.raises(BundleRefused, match=f"gate.{name}"):
            refuse(figures, msgspec.structs.replace(Gate(), **{name: value + (1e-3 if least else -1e-3)}))
        refuse(figures, msgspec.structs.replace(Gate(), **{name: value}))


def test_recall_at_1_is_that_of_brute_force_and_ties_count_their_share() -> None:
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 2, (40, 8), dtype=np.uint8).repeat(4, axis=1)  # coarse, so that many distances are equal
    identities = rng.integers(0, 12, 40)
    hits = []
    for i in range(40):
        others = [j for j in range(40) if j != i]
        if not any(identities[j] == identities[i] for j in others):
            continue
        distance = {j: sum(bin(a ^ b).count("1") for a, b in zip(codes[i], codes[j], strict=True)) for j in others}
        nearest = [j for j in others if distance[j] == min(distance.values())]
        hits.append(sum(identities[j] == identities[i] for j in nearest) / len(nearest))
    assert recall_at_1(codes, identities) == pytest.approx(sum(hits) / len(hits))
    assert recall_at_1(codes, np.arange(40)) == 0.0


def test_lost_recall_is_counted_and_refused(bundle: Bundle) -> None:
    """Two products, two photos each: right in float; with one photo's code of the other product, wrong."""
    a, b = np.zeros(32, np.uint8), np.full(32, 0xFF, np.uint8)
    codes = np.stack([a, a, b, b])
    rows = {name: np.concatenate([values, values])[:4] for name, values in bundle.expected.items()}
    got = compare(
        bundle.manifest, rows | {"hash": codes}, rows | {"hash": np.stack([a, b, b, b])}, np.array([1, 1, 2, 2])
    )
    assert got.recall_at_1 == pytest.approx(1 - (1 / 3 + 0 + 1 / 2 + 1 / 2) / 4)
    loose = {name: 0.0 if name.endswith("agreement") else 1.0 for name in Gate.__struct_fields__}
    with pytest.raises(BundleRefused, match=r"gate.recall_at_1: 0.6667, at most 0.01 over 4 photos"):
        refuse(got, Gate(**(loose | {"recall_at_1": 0.01})))


def test_an_engine_with_a_wrong_scale_is_refused(tiny: Path, tmp_path: Path) -> None:
    """One quantisation scale 4 times too large in a real INT8 bundle, its checksums in order."""
    photos = np.random.default_rng(2).integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)
    write_bundle(tiny, tmp_path / "int8", "int8", photos)
    build_engine(tmp_path / "int8").close()
    model = onnx.load(tmp_path / "int8" / MODEL_FILE)
    node = next(n for n in model.graph.node if n.op_type == "DequantizeLinear")
    scale = next(t for t in model.graph.initializer if t.name == node.input[1])
    scale.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(scale) * 4).astype(np.float32), scale.name))
    planted = tmp_path / "planted"
    shutil.copytree(tmp_path / "int8", planted)
    onnx.save(model, planted / MODEL_FILE)
    seal(planted, precision="int8")
    with pytest.raises(BundleRefused, match=r"gate\.\w+: .*at (most|least)"):
        build_engine(planted)


def test_figures_have_a_limit_each() -> None:
    assert set(Figures.__dataclass_fields__) - {"photos"} == set(Gate.__struct_fields__)
