"""The parts of the GPU script that need no GPU: the worker's tables, and that it writes nothing where it cannot run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.engine import gpu_engine
from benchmarks.engine.gpu_workers import Fleet
from benchmarks.stream.worker_ratio import photos
from engines.recognition import build_engine
from tests.engines.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.slow

GPU = Path("/dev/nvidiactl").exists()


@pytest.mark.skipif(GPU, reason="there is a GPU here")
def test_worker_rows_of_two_processes(tmp_path: Path) -> None:
    """On the processor: both processes run a tagger and the bare engine, and the decoder that is not here is told."""
    write_tiny_bundle(tmp_path / "bundle")
    for i, one in enumerate(photos(4)):
        (tmp_path / f"{i}.jpg").write_bytes(one)
    fleet = Fleet(folder=tmp_path / "bundle", backend="onnxruntime", photos=tmp_path, processes=2, batch=4, images=16)
    pillow, nvimgcodec = gpu_engine.rate_rows(fleet, fastest=1.0)
    decoder, processes, alone, whole, ratio = (cell.strip() for cell in pillow.strip("|").split("|"))
    assert (decoder, processes) == ("pillow", "2")
    bare, rate = (float(figure.replace(",", "")) for figure in (alone, whole))
    assert 0 < rate < bare
    assert float(ratio) == pytest.approx(rate / bare, abs=0.02)
    assert nvimgcodec.startswith(f"| nvimgcodec | 2 | {alone} | not run: jpeg_decoder: nvimgcodec")


@pytest.mark.skipif(GPU, reason="there is a GPU here")
def test_a_process_that_fails_is_told_in_every_row(tmp_path: Path) -> None:
    fleet = Fleet(folder=tmp_path, backend="onnxruntime", photos=tmp_path, processes=1, batch=4, images=16)
    for row in gpu_engine.rate_rows(fleet, fastest=1.0):
        assert "not run: a process ended: " in row
        assert "manifest.json" in row


@pytest.mark.skipif(GPU, reason="there is a GPU here")
def test_what_limits(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    engine = build_engine(tmp_path / "bundle")
    text = "\n".join(gpu_engine.limits(engine, photos(4), 4, speed=1000.0))
    engine.close()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| p"]
    assert [row[1] for row in rows] == ["engine", "decode and resize", "thumbnail", "rows from predictions"]
    assert [float(row[3]) for row in rows] == pytest.approx([float(row[2]) for row in rows], abs=0.06)
    assert "| nvimgcodec | not run: jpeg_decoder: nvimgcodec" in text


@pytest.mark.skipif(GPU, reason="there is a GPU here")
def test_without_a_gpu_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_engine", "--backend", "tensorrt_rtx", "--out", str(tmp_path / "gpu.md")])
    assert gpu_engine.main() == gpu_engine.NO_GPU == 3
    assert capsys.readouterr().err.startswith("not run: backend: no GPU can be used here")
    assert list(tmp_path.iterdir()) == []
