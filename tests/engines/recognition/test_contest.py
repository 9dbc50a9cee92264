"""The comparison of back ends: who may take part, who passes the gate, and who wins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engines.recognition.contest import Candidate, Entry, candidates, hold, installed, winner
from engines.recognition.precision import write_bundle
from schemas.errors import ConfigError

USUAL = Candidate(backend="onnxruntime", precision="fp32")
OPENVINO = Candidate(backend="openvino", precision="fp32")
INT8 = Candidate(backend="openvino", precision="int8")


def entry(candidate: Candidate, speed: float | None = None, refused: str = "") -> Entry:
    return Entry(candidate=candidate, folder="f", images_per_s=speed, refused=refused)


def test_int8_takes_part_only_with_photos_and_from_a_float_bundle() -> None:
    assert candidates("fp32", calibrated=False)[:2] == [USUAL, OPENVINO]
    assert INT8 not in candidates("fp32", calibrated=False)
    assert INT8 in candidates("fp32", calibrated=True)
    assert candidates("int8", calibrated=True)[:2] == [Candidate(backend=USUAL.backend, precision="int8"), INT8]


def test_the_fastest_wins_if_it_is_clearly_faster() -> None:
    best, reason = winner([entry(USUAL, 100), entry(OPENVINO, 105), entry(INT8, 170)])
    assert best.candidate == INT8
    assert reason == (
        "openvino int8 takes 170 photos/s here, 1.7 times onnxruntime fp32 (others: onnxruntime fp32 100, "
        "openvino fp32 105)"
    )
    best, reason = winner([entry(USUAL, 100), entry(OPENVINO, 109)])
    assert best.candidate == USUAL
    assert reason.endswith("(others: openvino fp32 109, which is not clearly faster)")


def test_who_is_refused_does_not_win_and_is_named() -> None:
    best, reason = winner([entry(USUAL, refused="not installed"), entry(OPENVINO, 9), entry(INT8, refused="gate.x")])
    assert best.candidate == OPENVINO
    assert reason == "openvino fp32 takes 9 photos/s here (onnxruntime fp32: not installed; openvino int8: gate.x)"
    with pytest.raises(ConfigError, match="no back end can run this bundle here"):
        winner([entry(USUAL, refused="a"), entry(OPENVINO, refused="b")])


@pytest.mark.slow
@pytest.mark.alone
def test_each_candidate_is_checked_and_measured(tiny: Path, tmp_path: Path) -> None:
    told: list[float] = []
    nobody = Candidate(backend="nobody", precision="fp32")

    def half(one: Candidate) -> Path:
        write_bundle(tiny, tmp_path / "half", one.precision)
        return tmp_path / "half"

    entrants = [USUAL, nobody, Candidate(backend="openvino", precision="fp16")]
    found = hold(tiny, entrants, threads=1, folder_of=half, tell=lambda share, what: told.append(share))
    assert [one.candidate for one in found] == entrants
    assert [one.images_per_s is not None for one in found] == [True, False, True]
    assert found[1].refused.startswith("backend: 'nobody' is not one of")
    assert [one.folder for one in found] == [str(tiny), "", str(tmp_path / "half")]
    assert told == sorted(told)
    assert told[-1] == 1


def test_a_missing_package_refuses_one_candidate(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "engines.recognition.openvino", raising=False)
    found = hold(tiny, [USUAL, OPENVINO], threads=1, folder_of=lambda one: tiny, tell=lambda share, what: None)
    assert found[0].images_per_s is not None
    assert "pip install 'groknet[openvino]'" in found[1].refused
    assert not installed("no_such_package")
