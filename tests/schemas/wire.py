"""What the properties of several messages draw from."""

from __future__ import annotations

from hypothesis import strategies as st

NOW_US = 1_767_225_600_000_000
ALPHABET = "abcXYZ019._:/-"

ids = st.text(ALPHABET, min_size=1, max_size=128)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
times = st.integers(1, NOW_US)
