"""Bounded numbers for settings and recipes: the unit or the bound is in the name, and msgspec checks it.

Each is a plain `int` or `float` to a type checker. A field that needs another bound declares it in place.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
"""A whole number of things, at least 1."""

Whole = Annotated[int, Meta(ge=0)]
"""A whole number of things, 0 allowed."""

Positive = Annotated[float, Meta(gt=0)]
"""A number above 0: a scale, a rate, a weight."""

NotNegative = Annotated[float, Meta(ge=0)]
"""A number of at least 0: a weight that 0 switches off."""

Share = Annotated[float, Meta(ge=0, le=1)]
"""A part of a whole or a probability, from 0 to 1."""

ShareBelowOne = Annotated[float, Meta(ge=0, lt=1)]
"""A part of a whole that never is all of it, such as a momentum, a dropout rate or a decay."""

ValidationShare = Annotated[float, Meta(ge=0, lt=0.5)]
"""The part of the photos that is set aside for validation. It is below one half, as the others are
trained on or measured."""

Seconds = Annotated[float, Meta(gt=0)]
"""A duration in seconds, above 0."""

DecodeMegabytes = Annotated[int, Meta(ge=16, le=1_000_000)]
"""Memory for the decode of photos, in megabytes of 2^20 bytes. A phone's photo needs up to 16."""
