"""What holds for the marks of any large group, whatever is alike and whatever found what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.cleaning.copies.groups import large_groups
from training.cleaning.copies.groups.large_groups import LargeGroup
from training.cleaning.copies.groups.links import Links
from training.cleaning.copies.marking import Scored

COUNT, LEAST = 60, 0.75


class Prints:
    """A small picture shows the number of its photo, and no bytes are equal."""

    def small(self, photos: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.broadcast_to(np.asarray(photos, np.uint8)[:, None, None], (len(photos), 32, 32))

    def values(self, field: str, photos: NDArray[np.int64]) -> NDArray[np.uint8]:
        assert field == "sha256"
        return np.broadcast_to(np.asarray(photos, np.uint8)[:, None], (len(photos), 32))


class Ranks:
    """Photo 0 is the best, then photo 1 and so on. A mark is a pair of numbers."""

    def best_first(self, photos: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return np.arange(len(photos)), -photos.astype(float)

    def mark(self, photo: Scored, best: Scored, why: object) -> tuple[int, int]:
        assert why is not None
        return photo.photo, best.photo


@pytest.mark.parametrize("seed", range(40))
def test_no_photo_is_left_out_for_one_that_is_left_out_or_unlike(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    alike = rng.uniform(0.4, 1, (COUNT, COUNT)) ** 0.5
    alike = np.maximum(alike, alike.T).astype(np.float32) - np.float32(rng.uniform(0, 0.25))
    one, other = np.triu_indices(COUNT, 1)
    found = (alike[one, other] >= LEAST) & (rng.random(len(one)) < rng.uniform(0.02, 0.3))
    one, other = one[found], other[found]
    links = Links(np.arange(COUNT), np.arange(COUNT), one, other, alike[one, other])
    freed: list[int] = []

    def likeness(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(alike[left[:, 0, 0], right[:, 0, 0]])

    def leave_out_all(self: LargeGroup, photos: NDArray[np.int64]) -> None:
        freed.append(len(photos))
        really(self, photos)

    really = LargeGroup._leave_out_all
    monkeypatch.setattr(large_groups, "likeness", likeness)
    monkeypatch.setattr(large_groups, "warped_distances", lambda left, _: np.zeros(len(left), np.int64))
    monkeypatch.setattr(LargeGroup, "_leave_out_all", leave_out_all)
    prints: Any = Prints()
    ranks: Any = Ranks()
    marks: list[Any] = list(LargeGroup(links, prints, ranks, bits=64, least=LEAST).marks())
    left_out = {photo for photo, _ in marks}
    assert len(left_out) == len(marks) > 0
    assert not left_out & {best for _, best in marks}
    assert all(best < photo and alike[photo, best] >= LEAST for photo, best in marks)
    stay = set(range(COUNT)) - left_out
    known = set(zip(one.tolist(), other.tolist(), strict=True))
    assert seed != 0 or sum(freed[1:])  # some photos are compared anew
    assert len(freed) > large_groups._ROUNDS or not any((a, b) in known for a in stay for b in stay if a < b)
