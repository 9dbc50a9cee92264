"""A short, deterministic run of the bundle fuzzer, and inputs that it or a person found."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings

from tests.fuzz.bundles import BUNDLES, Bytes, Change, External, Field, Member, check

HUGE = "{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }\n"


@settings(
    max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(BUNDLES)
@example(([Member("photos.npy", HUGE, b"", True, 1)], True))
@example(([Member("photos.npy", "{'descr': '|O', 'shape': (1,)}", b"cos\nsystem\n", True, 1)], True))
@example(([Member("photos.npy", ")", b"", False, 1)], True))  # tokenize.TokenError
@example(([Member("photos.npy", "  (\n 1\n2", b"", False, 1)], True))
@example(([Member("photos.npy", "(" * 20_000, b"", True, 1)], True))
@example(([External(0, "../w.bin", True)], True))
@example(([Field(0, [[]]), Field(3, {"a": 1e400})], True))
@example(([Bytes("manifest.json", 0.0, 10**9, b"[" * 100_000)], False))
@example(([Bytes("manifest.json", 0.0, 10**9, b"\xff\xfe")], False))
def test_a_changed_bundle_is_taken_or_refused_with_a_reason(case: tuple[list[Change], bool]) -> None:
    check(case)
