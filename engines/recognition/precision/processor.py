"""Whether this processor adds products of eight-bit numbers exactly."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_EXACT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""Flags of instructions that add such products in 32 bits: VNNI and AMX of x86-64, the dot product of Arm."""


def adds_bytes_exactly(cpuinfo: Path = _CPUINFO, machine: str = "") -> bool:
    """Return whether sums of products of two eight-bit numbers are exact here.

    Without such instructions, x86-64 adds two products in 16 bits, and large sums are cut off (AVX2's `vpmaddubsw`).
    Weights of seven bits cannot reach that limit. Where the processor cannot be asked, Arm counts as exact and x86-64
    does not.

    Args:
        cpuinfo: the file in which Linux lists the processor's flags.
        machine: the architecture, by default this machine's.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return (machine or platform.machine()).lower() in ("arm64", "aarch64")
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
    return bool(flags & _EXACT)
