"""Which processors add products of eight-bit numbers exactly, by lines as Linux prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.recognition.precision.processor import adds_bytes_exactly


@pytest.mark.parametrize(
    ("line", "exact"),
    [
        ("flags\t\t: fpu sse4_2 avx avx2 fma", False),  # AMD Zen 3, Intel before Cascade Lake
        ("flags\t\t: fpu avx2 avx512f avx512bw avx512vl", False),  # Skylake-SP: AVX-512 without VNNI
        ("flags\t\t: fpu avx2 avx512f avx512_vnni", True),  # Zen 4, Cascade Lake
        ("flags\t\t: fpu avx2 avx_vnni", True),  # Alder Lake
        ("Features\t: fp asimd asimddp", True),  # Arm Neoverse N1
        ("Features\t: fp asimd", False),
    ],
)
def test_flags(tmp_path: Path, line: str, exact: bool) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\n{line}\nbogomips\t: 50\n")
    assert adds_bytes_exactly(file) is exact


@pytest.mark.parametrize(("machine", "exact"), [("arm64", True), ("x86_64", False), ("AMD64", False)])
def test_where_the_processor_cannot_be_asked(tmp_path: Path, machine: str, exact: bool) -> None:
    assert adds_bytes_exactly(tmp_path / "none", machine) is exact
