"""The parts of the GPU script that need no GPU: the worker's tables, and that it writes nothing where it cannot run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import gpu_engine
from benchmarks.worker_ratio import photos
from engines.recognition import build_engine
from tests.engines.tiny_bundle import write_tiny_bundle

GPU = Path("/dev/nvidiactl").exists()


@pytest.mark.skipif(GPU, reason="there is a GPU here")
def test_worker_tables(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    engine = build_engine(tmp_path / "bundle")
    lines = gpu_engine.worker_page(engine, "fp32", 16, photos(4), rounds=1)
    engine.close()
    text = "\n".join(lines)
    (pillow,) = [line for line in text.splitlines() if line.startswith("| pillow |") and "stage" not in line][:1]
    assert len([cell for cell in pillow.split("|") if cell.strip()]) == 4
    assert "| nvimgcodec | not run: jpeg_decoder: nvimgcodec" in text
    stages = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| pillow |")][1:]
    assert stages == ["engine", "decode, resize and thumbnail", "rows from predictions"]


@pytest.mark.skipif(GPU, reason="there is a GPU here")
def test_without_a_gpu_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_engine", "--backend", "tensorrt_rtx", "--out", str(tmp_path / "gpu.md")])
    assert gpu_engine.main() == gpu_engine.NO_GPU == 3
    assert capsys.readouterr().err.startswith("not run: backend: no GPU can be used here")
    assert list(tmp_path.iterdir()) == []
